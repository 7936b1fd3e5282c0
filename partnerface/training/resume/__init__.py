"""Checkpoints and logs with which a killed run can be resumed exactly."""
