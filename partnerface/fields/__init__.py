"""Canonical radiance fields: points and directions -> density and colour."""
