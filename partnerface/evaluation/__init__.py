"""Metrics by split and region, their protocol, and the pictures and tables of a test."""
