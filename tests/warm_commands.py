"""Commands that start in a fork of a process with torch in it: importing it takes seconds, a test has many commands.

`python warm_commands.py SOCKET` is that process. It imports what commands import late anyway, runs nothing of it, and
forks for every client. A fork has the words, folder, variables and open files of its client, finds what is installed in
the client's environment and ends as its client ends. That importing is lazy where it should be is tested elsewhere, in
processes of their own.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import select
import signal
import site
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path
from typing import Any

PRELOADED = ("torch._dynamo", "scipy.stats", "pandas", "pytest", "metabench.execution.executor", "metabench.testing")
CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
words = [{name!r}, *sys.argv[1:]]
request = {{"words": words, "call": {call!r}, "packages": {packages!r}, "python": {python!r}}}
request |= {{"folder": os.getcwd(), "variables": dict(os.environ)}}
text = json.dumps(request).encode()
socket.send_fds(server, [len(text).to_bytes(8, "big")], [0, 1, 2])
server.sendall(text)
code = int(server.makefile().read())
if code < 0:
    signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
sys.exit(code)
"""


def write_command(script: Path, python: Path, packages: Path, call: str) -> None:
    """Write a command that runs `call` in a fork of this process's server.

    Args:
        script: the file; its name is that of the command.
        python: the interpreter of an environment.
        packages: its folder of installed packages.
        call: Python code.
    """
    text = CLIENT.format(python=str(python), address=_address(), name=script.name, call=call, packages=str(packages))
    script.write_text(text)
    script.chmod(0o755)


@functools.cache
def _address() -> str:
    """Start the server, once; it ends with this process."""
    running = contextlib.ExitStack()
    atexit.register(running.close)
    address = str(Path(running.enter_context(tempfile.TemporaryDirectory()), "socket"))
    server = running.enter_context(
        subprocess.Popen([sys.executable, __file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    )
    assert server.stdout is not None
    assert server.stdout.readline() == b"ready\n"
    return address


def _serve(address: str) -> None:
    del sys.path[0]  # the tests, which a command does not see
    for module in PRELOADED:
        importlib.import_module(module)
    gc.freeze()  # collecting would copy every page into every fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who attend to clients
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        readable, _, _ = select.select([listener, sys.stdin], [], [])
        if sys.stdin in readable:  # its end: the process that started this one has gone
            return
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _attend(client)
        client.close()


def _attend(client: socket.socket) -> None:
    """Run a client's command in a fork, tell the client how it ended, and end it where the client goes first."""
    size, files, _, _ = socket.recv_fds(client, 8, 3)
    request = json.loads(client.makefile("rb").read(int.from_bytes(size, "big")))
    command = os.fork()
    if command == 0:
        client.close()
        for number, file in enumerate(files):
            os.dup2(file, number)
            os.close(file)
        _become(request)
    for file in files:
        os.close(file)
    if client in select.select([client, os.pidfd_open(command)], [], [])[0]:
        os.kill(command, signal.SIGKILL)
    _, status = os.waitpid(command, 0)
    with contextlib.suppress(BrokenPipeError):
        client.sendall(str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _become(request: dict[str, Any]) -> None:
    """Run the client's command in this process, as if it had just been started, and end."""
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["variables"])
    sys.argv, sys.executable = request["words"], request["python"]
    sys.prefix = sys.exec_prefix = str(Path(sys.executable).parent.parent)
    site.addsitedir(request["packages"])
    importlib.invalidate_caches()
    try:
        exec(request["call"], {"__name__": "__main__"})
        code = 0
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    atexit._run_exitfuncs()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)  # taking torch down takes a second


if __name__ == "__main__":
    _serve(sys.argv[1])
