"""Completion is tested on the heads that the tracker is tested on."""

from tests.tracking.conftest import synthetic_track

__all__ = ["synthetic_track"]
