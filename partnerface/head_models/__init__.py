"""Parametric head models (3DMMs): parameters in, posed head out. Imports nothing of ours but `user_error`."""
