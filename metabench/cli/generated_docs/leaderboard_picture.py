"""Draw the leaderboard column that the README shows, from the committed records.

``python -m metabench.cli.generated_docs.leaderboard_picture > docs/leaderboard.svg`` draws it anew; a test compares.
"""

from __future__ import annotations

from pathlib import Path

import click

from metabench.leaderboard.figures import dot_plots
from metabench.leaderboard.folder import Leaderboard

DATASET, COLUMN = "omniglot", "5-way 1-shot, query=15"
_WIDTH = 720.0


def draw_leaderboard(leaderboards: Path) -> str:
    """Return the picture, an SVG file of its own.

    Args:
        leaderboards: folder with the committed records.
    """
    boards = Leaderboard(leaderboards).contents().boards()
    drawn = [
        plot
        for board in boards
        if board.name == DATASET
        for section in board.sections
        for plot in dot_plots(section, _WIDTH)
        if plot.title == COLUMN
    ]
    (plot,) = drawn
    return plot.file()


if __name__ == "__main__":
    click.echo(draw_leaderboard(Path("leaderboards")), nl=False)
