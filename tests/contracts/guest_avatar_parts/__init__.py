"""A package of somebody else: every exchangeable part of an avatar, written against the interfaces alone."""
