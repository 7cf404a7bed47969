"""See docs/design.md for what lives in this room."""
