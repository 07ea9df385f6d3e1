"""Helpers without knowledge of few-shot learning: hashes, files, the console, text."""
