"""Several pictures stacked into one, each under its heading."""

from __future__ import annotations

from collections.abc import Sequence

from metabench.plotting.svg import Picture, label, tag

_HEADING, _GAP = 24.0, 18.0


def stack(pictures: Sequence[Picture], title: str, notes: Sequence[str] = ()) -> Picture:
    """Return pictures below each other, the title above them and lines of small print below."""
    y, parts = 16.0, [label(0, 16, title, "strong")]
    for picture in pictures:
        y += _HEADING
        parts.append(label(0, y, picture.title, "muted"))
        parts.append(tag("g", picture.body, transform=f"translate(0 {y + 4:g})"))
        y += picture.height + _GAP
    for note in notes:
        parts.append(label(0, y, note, "small muted"))
        y += 16
    described = "; ".join(f"{picture.title}: {picture.description}" for picture in pictures)
    return Picture(max(picture.width for picture in pictures), y, title, described, "".join(parts))
