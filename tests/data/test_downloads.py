import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from metabench.data.downloads import OfficialFile, download, download_folder, download_if_allowed, find_source
from metabench.data.loader_context import DataContext
from metabench.errors import MetabenchError, MissingError

GOOD = b"the official bytes " * 5000
CHECKSUM = "md5:" + hashlib.md5(GOOD).hexdigest()


@pytest.fixture
def server(monkeypatch):
    """A local HTTP server: ``routes`` maps paths to (status, body, announced length), ``asked`` logs."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("METABENCH_MIRROR", raising=False)
    state = SimpleNamespace(routes={}, asked=[])

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            status, body, length = state.routes.get(self.path, (404, b"", 0))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    state.url = f"http://127.0.0.1:{http.server_port}"
    yield state
    http.shutdown()
    thread.join()
    http.server_close()


def serve(server, path, body=GOOD, status=200, length=None):
    server.routes[path] = (status, body, len(body) if length is None else length)


def official(server, *paths):
    return OfficialFile("set.zip", tuple(server.url + path for path in paths), CHECKSUM)


def test_download_reports_progress_and_is_kept(server, tmp_path):
    serve(server, "/a/set.zip")
    seen = []
    context = DataContext(tmp_path, progress=lambda text, done, total: seen.append((text, done, total)))
    path = download(official(server, "/a/set.zip"), context)
    assert path == tmp_path / "downloads" / "set.zip" and path.read_bytes() == GOOD
    assert seen[-1] == ("downloading set.zip (kB)", len(GOOD) // 1000, len(GOOD) // 1000)
    assert [done for _, done, _ in seen] == sorted(done for _, done, _ in seen)
    download(official(server, "/a/set.zip"), context)
    assert server.asked == ["/a/set.zip"]


def test_mirror_first_then_official(server, tmp_path, monkeypatch):
    monkeypatch.setenv("METABENCH_MIRROR", f"{server.url}/down/ {server.url}/wrong")
    serve(server, "/wrong/set.zip", b"something else")
    serve(server, "/official/set.zip")
    path = download(official(server, "/gone/set.zip", "/official/set.zip"), DataContext(tmp_path))
    assert path.read_bytes() == GOOD
    assert server.asked == ["/down/set.zip", "/wrong/set.zip", "/gone/set.zip", "/official/set.zip"]


def test_wrong_bytes_everywhere_leave_no_file(server, tmp_path):
    serve(server, "/a/set.zip", b"tampered")
    with pytest.raises(MetabenchError) as caught:
        download(official(server, "/a/set.zip", "/404/set.zip"), DataContext(tmp_path))
    assert caught.value.exit_code == 1
    assert f"({CHECKSUM[:16]})" in str(caught.value) and "/a/set.zip" in str(caught.value)
    assert list(download_folder(DataContext(tmp_path)).iterdir()) == []


@pytest.mark.parametrize("broken", ["status", "cut short", "refused"])
def test_network_errors_are_one_line_and_exit_code_3(server, tmp_path, broken):
    file = official(server, "/a/set.zip")
    if broken == "status":
        serve(server, "/a/set.zip", b"", status=503)
    elif broken == "cut short":
        serve(server, "/a/set.zip", GOOD[:1000], length=len(GOOD))
    else:
        file = OfficialFile("set.zip", ("http://127.0.0.1:9/set.zip",), CHECKSUM)
    with pytest.raises(MissingError) as caught:
        download(file, DataContext(tmp_path))
    message = str(caught.value)
    assert message.startswith("cannot download set.zip (http://127.0.0.1") and "\n" not in message
    assert "METABENCH_MIRROR" in message and len(message) < 300
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == []


def test_find_prefers_sources_in_order_then_downloads(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    context = DataContext(tmp_path / "cache", (first, second))
    names, below = ("set.zip", "set"), ("", "sub")
    assert find_source(names, context, below) is None
    ours = download_folder(context) / "set.zip"
    (second / "sub").mkdir(parents=True)
    (second / "set").mkdir()
    (first / "sub" / "set").mkdir(parents=True)
    ours.parent.mkdir(parents=True)
    ours.touch()
    assert find_source(names, context) == second / "set"
    assert find_source(names, context, below) == first / "sub" / "set"
    (first / "sub" / "set.zip").touch()
    assert find_source(names, context, below) == first / "sub" / "set.zip"
    assert find_source(names, DataContext(tmp_path / "cache"), below) == ours


def test_what_is_wanted_is_told_and_fetched_only_where_that_is_allowed(server, tmp_path):
    serve(server, "/a/set.zip")
    wanted = []
    official_file = official(server, "/a/set.zip")
    assert download_if_allowed(official_file, DataContext(tmp_path, wants=wanted.append)) == (None, "not found")
    assert (wanted, server.asked) == (["set.zip"], [])
    allowed = DataContext(tmp_path, allow_download=True, wants=wanted.append)
    assert download_if_allowed(official_file, allowed) == (tmp_path / "downloads" / "set.zip", "")
    path, why = download_if_allowed(official(server, "/gone"), DataContext(tmp_path / "other", allow_download=True))
    assert path is None and why.startswith("not found, and cannot download set.zip (")
