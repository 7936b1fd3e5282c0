"""Commands. Imports everything; nobody imports cli."""
