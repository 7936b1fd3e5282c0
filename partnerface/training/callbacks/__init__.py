"""What happens beside the training steps: checkpoints, budgets, progress, pictures and records of a run."""
