"""What `benchmark gpu` measures: a section after another, each in a process of its own."""
