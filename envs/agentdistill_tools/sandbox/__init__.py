"""Running Python that a model wrote, in a jail that was tried out first."""
