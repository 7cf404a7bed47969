"""First-party rewards."""
