"""Playing an avatar: drivers opened by name."""
