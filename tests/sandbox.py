"""A virtual environment for tests: what is installed into it stays there, and nothing is fetched."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

from tests.warm_commands import write_command


class Sandbox:
    """An environment that also sees everything of the running one (metabench, pytest, setuptools).

    Args:
        folder: where it is made; ``work`` below it is where commands run.
        home: the ``METABENCH_HOME`` of its commands.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        venv.create(folder / "env", with_pip=False, symlinks=True)
        self.bin = folder / "env" / "bin"
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.packages = folder / "env" / "lib" / version / "site-packages"
        # addsitedir, not a path alone: editable installs are .pth files of their own.
        (self.packages / "outer.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        for name, call in (
            ("metabench", "from metabench.cli.main import entry; entry()"),
            ("pytest", "import sys, pytest; sys.exit(pytest.main())"),
        ):
            write_command(self.bin / name, self.bin / "python", self.packages, call)
        pip = self.bin / "pip"  # in a process of its own, since Python keeps in mind where packages go
        pip.write_text(
            f"#!{self.bin / 'python'}\nimport sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
        )
        pip.chmod(0o755)
        self.work = folder / "work"
        self.work.mkdir()
        outer = {name: value for name, value in os.environ.items() if not name.startswith(("METABENCH_", "PYTEST_"))}
        self.environment = {
            **outer,
            "PATH": os.pathsep.join([str(self.bin), os.environ["PATH"]]),
            "METABENCH_HOME": str(home),
            "VIRTUAL_ENV": str(folder / "env"),
            "PIP_NO_INDEX": "1",
            "PIP_NO_BUILD_ISOLATION": "0",  # pip's way to say: build with what is installed
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_QUIET": "1",
            "PIP_ROOT_USER_ACTION": "ignore",
        }

    def run(self, command: str | list[str], timeout: int = 600) -> subprocess.CompletedProcess[str]:
        """Run a line of shell, or a list of words, in ``work``."""
        return subprocess.run(
            command, shell=isinstance(command, str), cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=timeout, check=False,
        )  # fmt: skip
