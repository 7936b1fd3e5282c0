"""Reading files that may come from strangers, and writing files that are whole or not there."""
