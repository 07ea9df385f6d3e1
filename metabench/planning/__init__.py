"""From what a user asks for to fully resolved runs; no torch."""
