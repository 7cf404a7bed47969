"""First-party curricula."""
