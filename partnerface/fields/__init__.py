"""Canonical radiance fields: points and directions -> density and colour. Imports nothing of ours."""
