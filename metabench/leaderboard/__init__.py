"""Leaderboards: a folder of committed records and published claims, and the pages generated from them."""

from metabench.leaderboard.folder import Leaderboard

__all__ = ["Leaderboard"]
