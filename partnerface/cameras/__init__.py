"""Pinhole cameras and rays. Imports nothing of ours."""
