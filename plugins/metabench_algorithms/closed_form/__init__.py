"""Closed form and convex: a linear classifier is fitted to every episode, exactly, and learned through."""
