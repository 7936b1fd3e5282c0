"""Command line and YAML files -> objects, and one-line errors for values that do not fit."""
