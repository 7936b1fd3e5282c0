"""Sweeps without a server: a W&B sweep file, run here."""
