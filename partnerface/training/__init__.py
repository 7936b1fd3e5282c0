"""Lightning lives here: an avatar, losses and data become a trained checkpoint, metrics and videos."""
