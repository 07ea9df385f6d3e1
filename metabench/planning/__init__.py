"""Plans: from the user's request to fully resolved runs; no torch."""
