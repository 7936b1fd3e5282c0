"""A W&B sweep file, run on this machine without a W&B server."""
