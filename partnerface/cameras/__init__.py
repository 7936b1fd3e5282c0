"""Pinhole cameras and rays."""
