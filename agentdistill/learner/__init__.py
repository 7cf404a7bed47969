"""From played and scored episodes to one optimiser step. Import from the modules: this package imports no torch."""
