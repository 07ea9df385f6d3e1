"""Gradient-based meta-learning."""
