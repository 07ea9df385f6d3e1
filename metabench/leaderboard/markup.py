"""HTML elements; every string that is not markup is escaped on its way in."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence

from metabench.plotting.svg import escape

LONG = 40
"""Rows from which on a table scrolls in its box, so that what is below it can be reached."""


def el(name: str, content: str = "", /, **attributes: str | None) -> str:
    """Return an element with its end tag; `content` is markup, attributes are not.

    ``cls`` is the class, ``_`` in a name is ``-``; an attribute that is None is left out.

    >>> el("td", text("a<b"), cls="num", data_v="1")
    '<td class="num" data-v="1">a&lt;b</td>'
    """
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{"class" if key == "cls" else key.replace("_", "-")}="{escape(value)}"')
    return f"<{' '.join(words)}>{content}</{name}>"


def text(content: str) -> str:
    """Return plain text as markup; line ends become line breaks."""
    return "<br>".join(escape(line) for line in content.split("\n") if line)


def table(header: Sequence[str], rows: Sequence[str], caption: str, cls: str = "") -> str:
    """Return a table in a box of its own that scrolls sideways, and if it is long, down; cells are markup."""
    head = el("thead", el("tr", "".join(header)))
    inner = el("caption", text(caption)) + head + el("tbody", "\n".join(rows))
    # A region that scrolls must be reachable with the keyboard.
    box = "scroll tall" if len(rows) > LONG else "scroll"
    return el("div", el("table", inner, cls=cls or None), cls=box, tabindex="0", role="region", aria_label=caption)


def csp_hash(content: str) -> str:
    """Return the word by which a content security policy lets exactly this inline style or script through."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
