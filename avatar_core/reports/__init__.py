"""Pages that people read: the quality report of an avatar, and of a whole library."""
