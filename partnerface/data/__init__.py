"""Tracked videos on disk -> batches of rays."""
