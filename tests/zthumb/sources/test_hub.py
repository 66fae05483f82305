"""Repositories fetched from a hub of the test's own, which speaks as the real one does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import BadInput, StageFailed
from zthumb.sources.hub import fetch
from zthumb.sources.reference import Hub

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "model_index.json": b"{}",
    "unet/model.safetensors": b"weights" * 500,
    "unet/model.fp16.safetensors": b"half",
    "unet/model.bin": b"a program",
    "model_1.0.safetensors": b"the same once more",
    "README.md": b"# a model",
}


@dataclass
class TestHub:
    __test__ = False
    url: str = ""
    status: int = 200
    error: str = ""
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[TestHub]:
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    told = TestHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, with_body: bool) -> None:
            told.asked.append((self.command, self.path, self.headers["authorization"]))
            status, body, headers = _found(self.path, told)
            self.send_response(status)
            for name, value in {**headers, "content-length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    told.url = f"http://127.0.0.1:{server.server_port}"
    yield told
    server.shutdown()
    server.server_close()


def _found(path: str, hub: TestHub) -> tuple[int, bytes, dict[str, str]]:
    if hub.status != 200:
        return hub.status, b"{}", {"x-error-code": hub.error} if hub.error else {}
    if path.startswith("/api/models/someone/model/revision/"):
        if path.rpartition("/")[2] not in ("main", COMMIT):
            return 404, b"{}", {"x-error-code": "RevisionNotFound"}
        siblings = [{"rfilename": name} for name in FILES]
        return 200, json.dumps({"id": "someone/model", "sha": COMMIT, "siblings": siblings}).encode(), {}
    if path.startswith(f"/api/models/someone/model/tree/{COMMIT}"):
        tree = [{"type": "file", "path": name, "size": len(data), "oid": "0" * 40} for name, data in FILES.items()]
        return 200, json.dumps(tree).encode(), {}
    if path.startswith("/someone/model/resolve/"):
        name = path.split("/", 5)[5]
        if name not in FILES:
            return 404, b"", {"x-error-code": "EntryNotFound", "x-repo-commit": COMMIT}
        etag = hashlib.sha256(FILES[name]).hexdigest()
        return 200, FILES[name], {"etag": f'"{etag}"', "x-repo-commit": COMMIT}
    return 404, b"{}", {"x-error-code": "RepoNotFound"}


def test_a_repository_comes_as_a_folder_without_what_is_never_opened(hub: TestHub, tmp_path: Path) -> None:
    folder = fetch(Hub("someone/model"), hub.url, tmp_path)
    assert folder.name == COMMIT
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == {
        "model_index.json",
        "unet/model.safetensors",
    }
    assert (folder / "unet/model.safetensors").read_bytes() == FILES["unet/model.safetensors"]


def test_one_file_comes_alone_and_is_not_fetched_twice(hub: TestHub, tmp_path: Path) -> None:
    asked = Hub("someone/model", COMMIT, "unet/model.safetensors")
    first = fetch(asked, hub.url, tmp_path)
    assert first.read_bytes() == FILES["unet/model.safetensors"]
    count = len(hub.asked)
    assert fetch(asked, hub.url, tmp_path) == first
    assert len(hub.asked) == count


def test_the_login_is_told_to_the_hub(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUGGINGFACE_HUB_TOKEN", "secret")
    fetch(Hub("someone/model", None, "model_index.json"), hub.url, tmp_path)
    assert {token for _, _, token in hub.asked} == {"Bearer secret"}


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Hub("someone/else"), "no such repository, or it is private"),
        (Hub("someone/model", "v9"), "no revision 'v9'"),
        (Hub("someone/model", None, "gone.safetensors"), "no file 'gone.safetensors'"),
    ],
)
def test_what_is_not_there_is_said(hub: TestHub, tmp_path: Path, asked: Hub, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        fetch(asked, hub.url, tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "kind", "told"),
    [
        (403, "GatedRepo", BadInput, "licence must be accepted on https://huggingface.co/someone/model"),
        (401, "GatedRepo", BadInput, "then set HF_TOKEN"),
        (401, "", BadInput, "set HF_TOKEN"),
        (429, "", StageFailed, "enough questions"),
    ],
)
def test_each_refusal_has_its_own_advice(
    hub: TestHub, tmp_path: Path, status: int, error: str, kind: type[Exception], told: str
) -> None:
    hub.status, hub.error = status, error
    with pytest.raises(kind, match=told):
        fetch(Hub("someone/model"), hub.url, tmp_path)


def test_offline_only_what_is_there_is_found(hub: TestHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Hub("someone/model", None, "model_index.json")
    there = fetch(asked, hub.url, tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert fetch(asked, hub.url, tmp_path) == there
    with pytest.raises(BadInput, match="HF_HUB_OFFLINE"):
        fetch(Hub("someone/model", None, "README.md"), hub.url, tmp_path)


def test_a_hub_that_does_not_answer_is_said(tmp_path: Path, hub: TestHub) -> None:
    with pytest.raises(StageFailed, match="does not answer"):
        fetch(Hub("someone/model"), "http://127.0.0.1:9", tmp_path)
