"""Landmarks and mattes of video frames, with MediaPipe."""
