"""What happens beside the training steps: budgets, progress, pictures and records of a run."""
