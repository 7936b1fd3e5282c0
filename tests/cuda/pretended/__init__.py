"""Tests on the pretended device, in a process of their own: `python -m pytest tests/cuda/pretended`."""
