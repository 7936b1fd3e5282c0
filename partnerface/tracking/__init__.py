"""A raw video -> a tracked video: landmarks, mattes, fitted and aligned heads."""
