"""Plugins: what they declare, how they are loaded and found by name."""
