"""Videos as people have them, read as upright RGB frames of standard range with square pixels."""
