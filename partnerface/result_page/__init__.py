"""The page of a run: its results and a player, in one HTML file."""
