"""A hub of the tests' own, which speaks as the real one does."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.faults import INJECTED

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


@contextmanager
def opened() -> Iterator[TestHub]:
    """A hub on loopback that is open for as long as this is."""
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
        INJECTED[f"answers {hub.status}"] += 1
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
