"""Episodic training."""
