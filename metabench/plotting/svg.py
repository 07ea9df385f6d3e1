"""The few SVG elements of pictures. Every string and number passes through here and is escaped."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from metabench.utils.text import printable

_AIR = 16.0  # around a picture that is a file of its own
_NARROW, _WIDE = "iIjl.,:;'|!()[]ft -", "mwMWQO@%±≥≤"


@dataclass(frozen=True)
class Picture:
    """A finished picture.

    Attributes:
        width, height: in CSS pixels at full size.
        title: what it shows, one line.
        description: the same numbers in words, for screen readers.
        body: SVG elements.
    """

    width: float
    height: float
    title: str
    description: str
    body: str

    def inline(self, name: str) -> str:
        """Return the picture as part of an HTML page with the style sheet `style`; `name` makes its ids unique."""
        return self._svg(name, "", 0)

    def file(self) -> str:
        """Return the picture as a file of its own: light colours, and only SVG that all converters know."""
        x = -_AIR
        backdrop = tag("rect", cls="backdrop", x=x, y=x, width=self.width - 2 * x, height=self.height - 2 * x)
        before = f"<style>{_plain_style()}</style>{backdrop}"
        return self._svg("picture", before, _AIR, xmlns="http://www.w3.org/2000/svg") + "\n"

    def _svg(self, name: str, before: str, air: float, **more: str) -> str:
        width, height = self.width + 2 * air, self.height + 2 * air
        box = " ".join(map(coordinate, (-air, -air, width, height)))
        words = tag("title", escape_xml(self.title), id=f"{name}-t") + tag(
            "desc", escape_xml(self.description), id=f"{name}-d"
        )
        return tag(
            "svg",
            words + before + self.body,
            **more,
            cls="mb",
            role="img",
            aria_labelledby=f"{name}-t {name}-d",
            width=width,
            height=height,
            viewBox=box,
        )


@cache
def style() -> str:
    """Return the style sheet of all pictures."""
    return resources.files("metabench.plotting").joinpath("plotting.css").read_text(encoding="utf-8")


@cache
def _plain_style() -> str:
    """Return the style sheet without variables, which converters do not know, and without its dark half."""
    lines = [line for line in style().splitlines() if not line.startswith("@media")]
    values = dict(re.findall(r"--(\w+):([^;}]+)", lines.pop(0)))
    series = {name: value for name, value in values.items() if re.fullmatch(r"s\d", name)} | {"sf": values["floor"]}
    rules = []
    for line in "\n".join(lines).replace("}.", "}\n.").splitlines():
        if "--c:" in line:
            continue
        if "var(--c)" in line:
            rules += [
                line.replace(".mb ", f".mb .{name} ", 1).replace("var(--c)", value) for name, value in series.items()
            ]
        else:
            rules.append(line)
    return re.sub(r"var\(--(\w+)\)", lambda name: values[name[1]], "\n".join(rules))


def tag(name: str, content: str = "", /, **attributes: str | float | None) -> str:
    """Return an element; `content` is markup already.

    ``cls`` is the class, ``_`` in a name is ``-``, and an attribute that is None is left out.

    >>> tag("line", x1=0.5, y1=2, stroke_width=1)
    '<line x1="0.5" y1="2" stroke-width="1"/>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is None or (key == "cls" and not value):
            continue
        key = "class" if key == "cls" else key.replace("_", "-")
        words.append(f'{key}="{escape_xml(value) if isinstance(value, str) else coordinate(value)}"')
    start = "<" + " ".join(words)
    return f"{start}>{content}</{name}>" if content else f"{start}/>"


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    """Return a straight line."""
    return tag("line", cls=cls, x1=x1, y1=y1, x2=x2, y2=y2)


def label(x: float, y: float, content: str, cls: str = "", anchor: str = "start") -> str:
    """Return a text whose base line starts (or is centred, or ends) at a point; `content` is not markup."""
    return tag("text", escape_xml(content), cls=cls, x=x, y=y, text_anchor=None if anchor == "start" else anchor)


def group(content: str, tip: str = "", cls: str = "") -> str:
    """Return elements as one group, with a tool tip."""
    return tag("g", (tag("title", escape_xml(tip)) if tip else "") + content, cls=cls)


def polyline(points: list[tuple[float, float]], cls: str, closed: bool = False) -> str:
    """Return a line through points."""
    steps = "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)
    return tag("path", cls=cls, d=f"M{steps}{'Z' if closed else ''}")


def escape_xml(text: str) -> str:
    """Return `text` as the content of an element or of a quoted attribute: one line, no markup, no controls."""
    return html.escape(printable(text), quote=True)


def coordinate(value: float) -> str:
    """Return a coordinate with at most two decimals.

    >>> coordinate(3.0), coordinate(0.126), coordinate(-0.001)
    ('3', '0.13', '0')
    """
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def width_of(text: str, size: float = 12) -> float:
    """Estimate the width of a text in a sans-serif font, in pixels; on the safe side."""
    widths = (0.36 if c in _NARROW else 0.94 if c in _WIDE else 0.69 if c.isupper() else 0.61 for c in text)
    return size * sum(widths)


def shorten(text: str, width: float, size: float = 12) -> str:
    """Cut a text to what fits a width, with an ellipsis.

    >>> shorten("a name that is long", 60)
    'a name th…'
    """
    if width_of(text, size) <= width:
        return text
    while text and width_of(text + "…", size) > width:
        text = text[:-1]
    return text.rstrip() + "…"


def shorten_names(names: Sequence[str], width: float, size: float = 12) -> dict[str, str]:
    """Cut names to what fits a width; those that would then be the same are cut before their last part instead.

    >>> shorten_names(["a long name, x=1", "a long name, x=2"], 80)
    {'a long name, x=1': 'a long…, x=1', 'a long name, x=2': 'a long…, x=2'}
    """
    short = {name: shorten(name, width, size) for name in names}
    for text in {text for text in short.values() if list(short.values()).count(text) > 1}:
        for name in [name for name in names if short[name] == text]:
            head, comma, last = name.rpartition(", ")
            short[name] = shorten(head, width - width_of(comma + last, size), size) + comma + last if comma else text
    return short
