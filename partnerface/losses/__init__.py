"""One loss, one file. Imports rendering and data records."""
