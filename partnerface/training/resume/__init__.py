"""Checkpoints and logs from which a killed run goes on exactly."""
