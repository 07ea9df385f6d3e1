"""Every command of the README is run, and the plugin of the documentation is installed and measured."""

from __future__ import annotations

import dataclasses
import faulthandler
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from selenium.webdriver.support.wait import WebDriverWait

import metabench
import metabench.api
from metabench.cli.generated_docs import (
    architecture_picture,
    catalogue,
    command_reference,
    leaderboard_picture,
    python_reference,
)
from metabench.registry import hookspecs, specs
from tests.browser import SECONDS, Browser, browser, missing
from tests.pages import Block, Reader, blocks, compare
from tests.plugins.test_cifar100 import real_cifar
from tests.sandbox import Sandbox

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


README = ROOT / "README.md"


def _readme() -> list[tuple[str, Block | None]]:
    """Return the commands of the README in order, each with the block that shows its output, if there is one."""
    found: list[tuple[str, Block | None]] = []
    for block in blocks(README):
        if block.language == "sh":
            lines = [line for line in block.text.splitlines() if "tox" not in line]
            found += [(line.removeprefix("pip install . && "), None) for line in lines]
        elif block.language == "text":
            found[-1] = found[-1][0], block
    return found


def _run(command: str, home: Path) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(BIN), os.environ["PATH"]])
    environment = {**os.environ, "METABENCH_HOME": str(home), "PATH": path}
    return subprocess.run(
        command.split(), cwd=home, env=environment, capture_output=True, text=True, timeout=900, check=False
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


def test_the_readme_has_its_two_set_up_commands() -> None:
    assert [block.text for block in blocks(README) if block.language == "sh"][:2] == [
        "pip install . && metabench run --algo protonet --shots 1,5\n",
        "pip install tox && tox\n",
    ]


@pytest.mark.parametrize(("command", "shown"), _readme(), ids=lambda value: value if isinstance(value, str) else "")
def test_readme_command(command: str, shown: Block | None, home: Path) -> None:
    """In the order of the README and in one home, as a reader would type them."""
    result = _run(command, home)
    assert result.returncode == 0, result.stderr
    assert "\x1b" not in result.stdout
    accuracies = [float(text) for text in re.findall(r"protonet .*?(\d+\.\d+) ±", result.stdout)]
    assert len(accuracies) == 2 and min(accuracies) > 70  # a trained model is far above chance
    if shown is not None:
        compare(shown, result.stdout)


def test_the_readme_shows_an_output() -> None:
    assert [shown for _, shown in _readme() if shown is not None]


LEADERBOARDS = ROOT / "leaderboards"
GENERATED = {
    "cli.md": command_reference.command_line_page,
    "api.md": python_reference.python_reference_page,
    "catalogue.md": lambda: catalogue.catalogue_page(LEADERBOARDS),
    "architecture.svg": lambda: architecture_picture.draw_architecture(ROOT),
    "leaderboard.svg": lambda: leaderboard_picture.draw_leaderboard(LEADERBOARDS),
}
"""Files of docs/, and what writes them (CONTRIBUTING.md has the commands)."""
PIPELINE = "pipeline.md"
ELSEWHERE = ("troubleshooting.md", PIPELINE)
"""Pages whose code is run by tests of their own."""
PAGES = sorted(path.name for path in (ROOT / "docs").glob("*.md") if path.name not in (*GENERATED, *ELSEWHERE))


@pytest.mark.parametrize("page", PAGES)
def test_page(page: str, tmp_path: Path, home: Path) -> None:
    """What a page says is typed, written and edited, from its first block to its last."""
    sandbox = Sandbox(tmp_path, home)
    (sandbox.work / "leaderboards").symlink_to(LEADERBOARDS)
    Reader(sandbox).follow(ROOT / "docs" / page)


@pytest.mark.realdata
def test_the_page_on_real_images(tmp_path: Path) -> None:
    """As `test_page`, in a home of its own, with the official files where the page says that they are."""
    faulthandler.cancel_dump_traceback_later()  # three minutes of one idle core; each command has a limit of its own
    sandbox, data = Sandbox(tmp_path, tmp_path / "home"), real_cifar()
    folder = data / "cifar-100-python"
    if folder.is_dir():
        (sandbox.work / folder.name).symlink_to(folder.resolve())
    else:
        shutil.unpack_archive(data / "cifar-100-python.tar.gz", sandbox.work, filter="data")
    Reader(sandbox).follow(ROOT / "docs" / PIPELINE)


@pytest.mark.parametrize("file", GENERATED)
def test_a_generated_file_is_fresh(file: str) -> None:
    written = (ROOT / "docs" / file).read_text(encoding="utf-8")
    assert written == GENERATED[file](), f"write docs/{file} anew: CONTRIBUTING.md has the command"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder],
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},  # the theme advertises its successor on stderr
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return folder


FETCHED_FOR = {
    "https://unpkg.com/mermaid@": 'class="mermaid"',
    "https://api.github.com/": 'data-md-component="source"',
    "https://unpkg.com/resize-observer-polyfill": None,  # by browsers from before 2020 alone
}
"""Addresses that the theme's script can fetch, and what must not stand on a page so that it never does."""


def test_the_site_is_whole_and_fetches_nothing(site: Path) -> None:
    pages = {file: file.read_text(encoding="utf-8") for file in site.glob("*.html")}
    assert len(pages) > len(PAGES)
    for text in pages.values():
        loaded = re.findall(r"<(?:link|script|img|iframe|source)\b[^>]*?(?:href|src)=[\"']?([^\"' >]+)", text)
        assert loaded
        assert not [address for address in loaded if re.match(r"(\w+:)?//", address)]
        assert not [mark for mark in FETCHED_FOR.values() if mark and mark in text]
    for file in site.rglob("*.css"):
        text = file.read_text(encoding="utf-8")
        loaded = re.findall(r"(?:@import\s*|url\()[\"']?(?!data:|#)([^\"')\s]+)", text)
        assert not [address for address in loaded if re.match(r"(\w+:)?//", address)], file.name
    for file in site.rglob("*.js"):  # addresses in comments are licences; those of w3.org are names of namespaces
        found = re.findall(r"[\"'`]((?:https?|wss?):)?(//[\w.-]+\.\w+/[^\"'`\s]*)", file.read_text(encoding="utf-8"))
        addresses = {scheme + rest for scheme, rest in found if not rest.startswith("//www.w3.org/")}
        assert not [address for address in addresses if not address.startswith(tuple(FETCHED_FOR))], file.name


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_browser_asks_for_nothing_from_elsewhere(site: Path) -> None:
    """A page of each kind and the search are opened, and every request that a browser makes goes to the site."""
    handler = partial(QuietHandler, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, browser() as page:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        root = f"http://127.0.0.1:{server.server_address[1]}/"
        for name in ("index.html?q=episode", "architecture.html", "api.html", "howto-images.html", "404.html"):
            page.get(root + name)
            asked = _requests(page)
            assert not [address for address in asked if not address.startswith((root, "data:"))]
            assert page.complaints() == []
        server.shutdown()


def _requests(page: Browser) -> list[str]:
    """Return the addresses that a page asked for, once its script has asked for the words to search in."""

    def addresses(driver: Browser) -> list[str]:
        asked = driver.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        return asked if any(address.endswith("/search_index.json") for address in asked) else []

    return WebDriverWait(page, SECONDS).until(addresses)


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_files_and_names_on_the_architecture_page_exist() -> None:
    """``file``: ``name``, ``name`` says where something is."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    places = re.findall(r"`((?:metabench|plugins|tests)/[\w/]*(?:\.py)?)`((?:(?::|,) `\w+`)*)", page)
    assert len(places) > 25
    for path, names in places:
        assert (ROOT / path).exists(), path
        for name in re.findall(r"`(\w+)`", names):
            assert re.search(rf"^(?:def|class) {name}\b", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE), name


@pytest.mark.parametrize("module", [metabench, metabench.api])
def test_every_public_name_is_on_the_python_page(module: ModuleType) -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    shown = re.findall(rf"^::: {re.escape(module.__name__)}\.(\w+)$", page, flags=re.MULTILINE)
    assert sorted(shown) == sorted(set(module.__all__) - {"__version__"})


def test_every_file_named_in_the_documentation_exists() -> None:
    for file in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")):
        for path in re.findall(
            r"`((?:metabench|plugins|tests|benchmarks)/[\w/]+\.\w+)`", file.read_text(encoding="utf-8")
        ):
            assert (ROOT / path).exists(), f"{file.name}: {path}"


REFERENCE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")


def test_every_hook_is_documented_with_its_arguments() -> None:
    hooks = {
        f"{name}({', '.join(getattr(hookspecs, name).__code__.co_varnames)})"
        for name in vars(hookspecs)
        if name.startswith("metabench_")
    }
    assert set(re.findall(r"`(metabench_\w+\(.*?\))`", REFERENCE)) == hooks


@pytest.mark.parametrize(
    ("heading", "spec"),
    [
        ("Every spec", specs.Spec),
        ("AlgorithmSpec", specs.AlgorithmSpec),
        ("Stage", specs.Stage),
        ("BackboneSpec", specs.BackboneSpec),
        ("DatasetSpec", specs.DatasetSpec),
    ],
)
def test_every_field_of_a_spec_is_documented(heading: str, spec: type) -> None:
    section = REFERENCE.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    inherits = issubclass(spec, specs.Spec) and spec is not specs.Spec
    common = {field.name for field in dataclasses.fields(specs.Spec)} if inherits else set()
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    documented = [name for line in rows for name in re.findall(r"`(\w+)`", line.split(" | ")[0])]
    assert sorted(documented) == sorted({field.name for field in dataclasses.fields(spec)} - common)
