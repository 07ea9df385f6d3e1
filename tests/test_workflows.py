"""The GitHub workflows: they fit GitHub's schema, hold few rights, and say what a stranger sends as plain text."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
by_file = pytest.mark.parametrize("path", WORKFLOWS, ids=[path.stem for path in WORKFLOWS])


def _read(path: Path) -> dict[Any, Any]:
    workflow = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(workflow, dict)
    return workflow


def _events(workflow: dict[Any, Any]) -> set[str]:
    return set(workflow[True])  # YAML 1.1 takes the key "on" for a truth value


def _steps(workflow: dict[Any, Any]) -> Iterator[dict[str, Any]]:
    for job in workflow["jobs"].values():
        yield from job["steps"]


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", WORKFLOWS),
        ("citation-file-format", [ROOT / "CITATION.cff"]),
    ],
)
def test_files_fit_their_schema(schema: str, files: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}", *files],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@by_file
def test_no_job_holds_more_rights_than_it_says(path: Path) -> None:
    workflow = _read(path)
    assert workflow["permissions"] == {}
    for name, job in workflow["jobs"].items():
        assert job.get("permissions"), f"{name} must say its permissions"
        assert job["timeout-minutes"] <= 60


@by_file
def test_strangers_code_meets_no_right_to_write(path: Path) -> None:
    workflow = _read(path)
    assert "pull_request_target" not in _events(workflow)
    for name, job in workflow["jobs"].items():
        writes = {right for right, level in job["permissions"].items() if level == "write"}
        if "pull_request" in _events(workflow):
            assert not writes or job["if"] == "github.event_name == 'push'", name
        if writes:  # what may write runs published actions and the script in the workflow, nothing from a checkout
            assert not any("run" in step or "checkout" in step.get("uses", "") for step in job["steps"]), name


@by_file
def test_no_expression_is_pasted_into_a_script(path: Path) -> None:
    """A branch may be called ``$(rm -r .)``: values reach scripts through the environment."""
    for step in _steps(_read(path)):
        for script in (step.get("run", ""), step.get("with", {}).get("script", "")):
            assert "${{" not in script


@by_file
def test_actions_are_pinned_and_leave_no_token_behind(path: Path) -> None:
    for step in _steps(_read(path)):
        if action := step.get("uses"):
            assert re.fullmatch(r"(actions/[a-z-]+@v\d+|pypa/gh-action-pypi-publish@release/v1)", action)
            if action.startswith("actions/checkout@"):
                assert step["with"]["persist-credentials"] is False


def test_the_oldest_numpy_of_the_workflow_is_that_of_the_package() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    matrix = _read(FOLDER / "tests.yml")["jobs"]["versions"]["strategy"]["matrix"]["include"]
    (oldest,) = (entry["numpy"] for entry in matrix if entry["numpy"])
    assert f'"numpy>={oldest.removeprefix("numpy==").removesuffix(".*")}"' in project
    assert [entry["python"] for entry in matrix] == re.findall(r"Python :: (\d\.\d+)\"", project)


# The comment on a pull request, by the script of the workflow with a GitHub that is made up.

_HARNESS = """
const pulls = %(pulls)s, files = %(files)s, comments = %(comments)s, said = [];
const rest = {
  pulls: { list: () => pulls, listFiles: () => files },
  issues: {
    listComments: () => comments,
    createComment: (asked) => said.push({ verb: "create", ...asked }),
    updateComment: (asked) => said.push({ verb: "update", ...asked }),
  },
};
const github = { rest, paginate: async (method, asked) => method(asked) };
const context = { repo: { owner: "o", repo: "r" }, payload: { workflow_run: %(run)s } };
const core = { notice: (text) => said.push({ verb: "notice", text }) };
(async () => {
%(script)s
})().then(() => console.log(JSON.stringify(said)));
"""
_RUN = {
    "head_sha": "a1",
    "head_branch": "mine",
    "head_repository": {"owner": {"login": "stranger"}},
    "conclusion": "success",
    "html_url": "LOG",
}


def _comment(report: Path, **changes: Any) -> list[dict[str, Any]]:
    node = shutil.which("node")
    if node is None:
        pytest.skip("needs node")
    (script,) = (
        step["with"]["script"] for step in _steps(_read(FOLDER / "leaderboard-comment.yml")) if "with" in step
        if "script" in step["with"]
    )  # fmt: skip
    given = {
        "run": _RUN,
        "pulls": [{"number": 7, "head": {"sha": "a1"}}],
        "files": [{"filename": "leaderboards/records/x.json"}],
        "comments": [],
        **changes,
    }
    code = _HARNESS % {"script": script, **{name: json.dumps(value) for name, value in given.items()}}
    done = subprocess.run(
        [node, "-"], input=code, env={"REPORT": str(report)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert isinstance(said, list)
    return said


@pytest.fixture
def report(tmp_path: Path) -> Path:
    file = tmp_path / "report.txt"
    file.write_text("against main: records 1 added\n  protonet  81.37  new, rank 1\n")
    return file


def test_a_report_becomes_a_comment(report: Path) -> None:
    (said,) = _comment(report)
    assert (said["verb"], said["issue_number"]) == ("create", 7)
    assert "`metabench leaderboard check` passed for a1 ([log](LOG))." in said["body"]
    assert said["body"].endswith("\n```text\nagainst main: records 1 added\n  protonet  81.37  new, rank 1\n```")
    assert "could have changed this report" not in said["body"]


def test_a_later_report_replaces_only_our_own_comment(report: Path) -> None:
    mark = "<!-- metabench leaderboard check -->"
    strange = {"id": 1, "user": {"login": "stranger"}, "body": mark}
    ours = {"id": 2, "user": {"login": "github-actions[bot]"}, "body": f"{mark}\nold"}
    (said,) = _comment(report, comments=[strange, ours], run={**_RUN, "conclusion": "failure"})
    assert (said["verb"], said["comment_id"]) == ("update", 2)
    assert "**did not pass**" in said["body"]


@pytest.mark.parametrize(
    "file", [{"filename": ".github/workflows/x.yml"}, {"filename": "leaderboards/a", "previous_filename": "a.py"}]
)
def test_a_report_that_could_be_forged_says_so(report: Path, file: dict[str, str]) -> None:
    (said,) = _comment(report, files=[{"filename": "leaderboards/records/x.json"}, file])
    assert "it could have changed this report too" in said["body"]


def test_only_the_pull_request_of_the_commit_that_was_checked(report: Path) -> None:
    (said,) = _comment(report, pulls=[{"number": 8, "head": {"sha": "b2"}}])
    assert said["verb"] == "notice"


def test_what_a_report_says_stays_in_its_block(report: Path) -> None:
    report.write_text("```\n@everyone <img src=x>\n\x1b[31m\u202eevil ````\n" + "x" * 100_000)
    (said,) = _comment(report)
    head, fence, rest = said["body"].partition("`````text\n")
    text, closing, after = rest.partition("\n`````")
    assert fence and closing and "@everyone" in text and "@everyone" not in head + after
    assert not set(text) & {"\x1b", "\u202e"}
    assert after == "\nThe rest is in the log of the run."
    assert len(said["body"]) < 65_536


def test_a_report_that_is_no_file(tmp_path: Path) -> None:
    link = tmp_path / "report.txt"
    link.symlink_to("/etc/passwd")
    for path in (link, tmp_path / "missing"):
        (said,) = _comment(path)
        assert said["body"].endswith("There is no report: see the log of the run.")
