"""Dataset formats on disk. Each has a `SequenceReader`."""
