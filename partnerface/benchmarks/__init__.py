"""Numbers for the README's tables, each with its command."""
