"""Inverse skinning: observation space -> canonical space."""
