"""Image metrics on regions, as torchmetrics. Imports nothing of ours."""
