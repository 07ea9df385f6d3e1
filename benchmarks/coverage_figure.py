"""The figure of `coverage.py`: coverage of each interval, one dot for each cell; the band is 95 % within 1.5 points.

python benchmarks/coverage_figure.py DIR/coverage-2000-*.json > docs/coverage.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from metabench.plotting.svg import Picture, group, label, line, tag

ROWS = (
    "closed",
    "open-disjoint",
    "open-disjoint, few queries",
    "class bootstrap",
    "jackknife, noise left in",
    "class-level",
    "difference, paired t",
    "difference, class-level",
)
LEFT, RIGHT, TOP, STEP = 180.0, 620.0, 34.0, 30.0
COLOURS = {"20 x 600": "s0", "50 x 60": "s1", "423 x 20": "s2"}


def across(coverage: float) -> float:
    return LEFT + (RIGHT - LEFT) * coverage / 100


def picture(results: list[dict]) -> Picture:
    bottom = TOP + STEP * len(ROWS)
    parts = [tag("rect", cls="bar", x=across(93.5), y=TOP - 8, width=across(96.5) - across(93.5), height=bottom - TOP)]
    for value in range(0, 101, 20):
        parts.append(line(across(value), TOP - 8, across(value), bottom - 8, "grid"))
        parts.append(label(across(value), bottom + 8, f"{value} %", "small muted", "middle"))
    for index, name in enumerate(ROWS):
        y = TOP + STEP * (index + 0.3)
        parts.append(label(LEFT - 10, y + 4, name, "strong" if name.endswith("class-level") else "", "end"))
        for place, result in enumerate(results):
            found = result["intervals"][name]
            colour = COLOURS[result["name"].split(",")[0]]
            tip = f"{name}, {result['name']}: {found['coverage']} % (± {found['half_width']})"
            x, dy = across(found["coverage"]), 2.4 * (place - (len(results) - 1) / 2)
            full = "1-shot" in result["name"]
            dot = tag("circle", cls="f" if full else "c thin", cx=x, cy=y + dy, r=3.6 if full else 3.1)
            parts.append(group(dot, tip, colour))
    x = LEFT
    for shape, colour in COLOURS.items():
        parts.append(group(tag("circle", cls="f", cx=x, cy=10, r=4), "", colour))
        parts.append(label(x + 9, 14, f"{shape} images", "small"))
        x += 110
    parts.append(label(x, 14, "full: 1-shot, ring: 5-shot", "small muted"))
    words = [f"{n}: " + ", ".join(f"{r['name']} {r['intervals'][n]['coverage']} %" for r in results) for n in ROWS]
    title = "How often each 95 % interval covers the accuracy on new classes and images"
    return Picture(RIGHT + 30, bottom + 16, title, "; ".join(words), "".join(parts))


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text()) for name in sys.argv[1:]]
    found.sort(key=lambda result: (list(COLOURS).index(result["name"].split(",")[0]), result["name"]))
    sys.stdout.write(picture(found).file())
