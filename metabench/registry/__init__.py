"""Plugins: their specs, loading, and look-up by name."""
