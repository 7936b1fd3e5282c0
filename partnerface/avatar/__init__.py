"""The method: `avatar.py` is the page to read first; NeRFace is its sibling behind the same interface."""
