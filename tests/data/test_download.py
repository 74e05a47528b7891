"""Against a real server on this machine; each mirror is a folder of it."""

import gzip
import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from distillbias.data import cache, catalogue, mnist
from distillbias.errors import InputError

NAMES = [file.name for file in catalogue.MNIST.files]
Asked = list[str]


@pytest.fixture
def server(contents, monkeypatch) -> Iterator[tuple[str, Asked]]:
    """Address and list of paths asked for: /good/ /damaged/ /short/ /endless/ /silent/; all else is a 404."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    packed = {name + ".gz": gzip.compress(data, 1) for name, data in contents.items()}
    asked: Asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            _, mirror, name = self.path.split("/")
            body = packed.get(name, b"")
            if mirror == "silent":
                return
            if mirror not in ("good", "damaged", "short", "endless") or not body:
                self.send_error(404)
                return
            self.send_response(200)
            if mirror != "endless":
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if mirror == "damaged":
                body = gzip.compress(bytes(len(gzip.decompress(body))), 1)[: len(body)].ljust(len(body), b"\0")
            self.wfile.write({"short": body[: len(body) // 2], "endless": bytes(20_000_000)}.get(mirror, body))

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            try:
                super().handle()
            except OSError:
                pass  # the client hung up, as it should on an endless answer

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}/", asked
    httpd.shutdown()
    httpd.server_close()
    thread.join()


def test_a_good_mirror_fills_the_home_and_reports_progress(server, tmp_path):
    address, asked = server
    seen: list[tuple[str, int, int]] = []
    cache.download("mnist", tmp_path, (address + "good/",), lambda *step: seen.append(step))
    assert {status.state for status in cache.verify("mnist", tmp_path)} == {"ok"}
    assert len(mnist.load(tmp_path)[0].labels) == 30
    last = {name: (done, total) for name, done, total in seen}
    assert list(last) == [f"{name}.gz" for name in NAMES]
    assert all(done == total > 0 for done, total in last.values())
    cache.download("mnist", tmp_path, (address + "good/",))
    assert len(asked) == 4  # nothing is fetched twice


@pytest.mark.parametrize("bad", ["damaged", "short", "endless", "absent", "silent"])
def test_a_bad_mirror_is_passed_over(server, tmp_path, bad):
    address, asked = server
    cache.download("mnist", tmp_path, (f"{address}{bad}/", address + "good"))  # a forgotten slash does no harm
    assert asked[:2] == [f"/{bad}/{NAMES[0]}.gz", f"/good/{NAMES[0]}.gz"]
    assert {status.state for status in cache.verify("mnist", tmp_path)} == {"ok"}


def test_when_all_fail_each_answer_is_told_and_nothing_is_left(server, tmp_path):
    address, _ = server
    kinds = ("absent", "short", "endless", "damaged", "silent")
    mirrors = (*(f"{address}{kind}/" for kind in kinds), "http://127.0.0.1:1/", "file:///etc/", "http://[bad/")
    with pytest.raises(InputError) as caught:
        cache.download("mnist", tmp_path, mirrors)
    answers = str(caught.value).split(": ", 1)[1].split("; ")
    expected = (
        "status 404",
        "cut short, ",
        "sends more than",
        "gzip",
        "Remote",
        "refused",
        "must begin with http",
        "Inv",
    )
    assert len(answers) == len(expected) and "\n" not in str(caught.value)
    for answer, mirror, words in zip(answers, mirrors, expected, strict=True):
        assert answer.startswith(mirror) and words in answer
    assert list((tmp_path / "mnist").iterdir()) == []


def test_no_mirrors_unknown_sets_and_blocked_homes(contents, tmp_path):
    with pytest.raises(InputError, match="there are no mirrors"):
        cache.download("mnist", tmp_path, ())
    with pytest.raises(InputError, match="unknown data set"):
        cache.download("cifar", tmp_path)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match="cannot make the folder"):
        cache.download("mnist", tmp_path / "file", ("http://127.0.0.1:1/",))


@pytest.fixture
def archive(contents, tmp_path: Path, monkeypatch) -> Path:
    """A small mnist_c.zip, catalogued as the genuine one."""
    labels = mnist.read_idx(contents["t10k-labels-idx1-ubyte"], "labels")
    path = tmp_path / "served" / "mnist_c.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as stream:
        for name in ("scale", "translate"):
            for kind, array in (("images", np.full((10_000, 28, 28, 1), 7, np.uint8)), ("labels", labels)):
                with stream.open(f"mnist_c/{name}/test_{kind}.npy", "w") as member:
                    np.lib.format.write_array(member, array)
    data = path.read_bytes()
    listed = catalogue.File("mnist_c.zip", len(data), hashlib.sha256(data).hexdigest(), hashlib.md5(data).hexdigest())
    monkeypatch.setitem(catalogue.DATA_SETS, "mnist_c", replace(catalogue.MNIST_C, files=(listed,)))
    return path


def test_the_archive_is_fetched_verified_and_unpacked(archive, tmp_path, monkeypatch):
    """The transport is tested above; here only what happens to the bytes."""

    class Response:
        def __init__(self, data: bytes):
            self.data, self.headers = data, {"Content-Length": str(len(data))}

        def __enter__(self) -> "Response":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, size: int) -> bytes:
            head, self.data = self.data[:size], self.data[size:]
            return head

    answers = [b"not the archive", archive.read_bytes()]
    monkeypatch.setattr("urllib.request.urlopen", lambda request, timeout: Response(answers.pop(0)))
    cache.download("mnist_c", tmp_path / "home", ("http://one/", "http://two/"))
    states = {status.file: status.state for status in cache.verify("mnist_c", tmp_path / "home")}
    assert states == {"scale": "ok", "translate": "ok"} and answers == []
    assert sorted(path.name for path in (tmp_path / "home" / "mnist_c").iterdir()) == ["scale", "translate"]
    cache.download("mnist_c", tmp_path / "home", ("http://three/",))  # there already: nobody is asked
