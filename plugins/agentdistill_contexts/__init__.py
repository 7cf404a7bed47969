"""First-party contexts."""
