"""Avatars on disk: a checkpoint or an avatar file becomes an avatar, without the trainer."""
