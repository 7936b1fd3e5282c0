"""Tests of the package on a CUDA device that is not there."""

# They need a process of their own: test_pretended_device.py starts them.
collect_ignore = ["pretended"]
