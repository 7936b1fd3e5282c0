"""Playing an avatar: drivers opened by name, and films of an avatar."""
