"""Fine motion in canonical space, part by part."""
