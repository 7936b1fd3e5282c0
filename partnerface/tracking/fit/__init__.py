"""Head parameters that explain the landmarks and mattes of all frames at once."""
