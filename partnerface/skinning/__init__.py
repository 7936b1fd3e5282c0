"""Observation space -> canonical space. Imports head_models."""
