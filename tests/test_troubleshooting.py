"""The troubleshooting page shows the messages that its commands raise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.error_messages import PAGE, Entry, entries, raised
from tests.pages import FREE

TEXT = PAGE.read_text(encoding="utf-8")
ENTRIES = entries(TEXT)


def test_every_heading_has_a_command_a_message_a_cause_and_a_remedy() -> None:
    headings = re.findall("^### (.*)$", TEXT, flags=re.MULTILINE)
    assert len(headings) >= 15
    assert [entry.heading for entry in ENTRIES] == headings
    assert TEXT.count("**Cause.**") == TEXT.count("**Remedy.**") == len(headings)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.heading)
def test_the_message_is_raised(entry: Entry, tmp_path: Path, home: Path) -> None:
    if entry.reason_to_skip:
        pytest.skip(entry.reason_to_skip)
    shown, got = (re.sub(FREE, "N", " ".join(text.split())) for text in (entry.message, raised(entry, tmp_path, home)))
    assert shown == got, "write the messages anew: python -m tests.error_messages"
