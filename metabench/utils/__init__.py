"""Helpers that know nothing of few-shot learning: hashes, files, the console, text."""
