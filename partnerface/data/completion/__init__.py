"""What a tracked video needs beyond its head parameters: region labels, shell thickness, torso motion."""
