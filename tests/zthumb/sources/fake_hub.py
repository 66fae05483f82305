"""A fake Hugging Face hub for tests, with the same API as the real one."""

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
class FakeHub:
    """How the hub answers, and the requests it received: method, path and authorization header."""

    url: str = ""
    status: int = 200
    error: str = ""
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)


@contextmanager
def running_hub() -> Iterator[FakeHub]:
    """Run a hub on the loopback interface."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._respond(with_body=False)

        def do_GET(self) -> None:
            self._respond(with_body=True)

        def _respond(self, with_body: bool) -> None:
            hub.requests.append((self.command, self.path, self.headers["authorization"]))
            status, body, headers = _response(self.path, hub)
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
    hub.url = f"http://127.0.0.1:{server.server_port}"
    yield hub
    server.shutdown()
    server.server_close()


def _response(path: str, hub: FakeHub) -> tuple[int, bytes, dict[str, str]]:
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
