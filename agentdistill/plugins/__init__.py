"""Plugins: hooks, registry, loading."""
