"""An image of one's own: its posterior, its samples, its missing part."""
