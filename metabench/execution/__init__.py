"""Carrying out a plan: sessions, weights, features, scores, replays."""
