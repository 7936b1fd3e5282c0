"""Where along a ray the avatar is evaluated."""
