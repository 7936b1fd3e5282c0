"""Callbacks: budgets, progress, scores, pictures and configuration of a run, occupancy refreshes."""
