"""Every method on every subject and seed under one compute budget."""
