"""Parametric head models (3DMMs): head parameters in, posed head out. Imports nothing of ours but `user_error`."""
