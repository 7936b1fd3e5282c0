"""Parametric head models (3DMMs): head parameters in, posed head out."""
