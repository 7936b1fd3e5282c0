"""Runs in folders and processes of their own: start, stop, progress, results."""
