"""Leaderboards: records, published values, and the pages made from both."""

from metabench.leaderboard.folder import Leaderboard

__all__ = ["Leaderboard"]
