"""Metric-based algorithms."""
