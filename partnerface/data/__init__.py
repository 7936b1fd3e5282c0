"""Tracked videos on disk -> batches of rays. Imports head_models and cameras."""
