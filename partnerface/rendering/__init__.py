"""Volume rendering and the torso layer behind the head."""
