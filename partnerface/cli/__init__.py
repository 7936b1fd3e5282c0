"""The commands. Nobody imports this package."""
