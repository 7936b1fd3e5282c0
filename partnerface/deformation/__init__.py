"""Canonical space -> canonical space, part by part. Imports head_models and fields."""
