"""One file for each format of tracked data on disk."""
