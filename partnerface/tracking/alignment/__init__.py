"""Sub-pixel alignment of poses and expressions to the pictures."""
