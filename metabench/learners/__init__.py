"""Learners: what the harness trains and scores, for each kind of algorithm."""
