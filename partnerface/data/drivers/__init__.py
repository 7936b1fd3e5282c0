"""What drives an avatar: a source of Views, one after another in time."""
