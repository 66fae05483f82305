"""The server, seen through its HTTP API."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from foundation.errors import BadInput, StageFailed

_TIMEOUT_S = 600
_TRIES = 6
_WAIT_S = 2.0
_BUSY = (429, 503)


@dataclass(frozen=True)
class ServedModel:
    """What the server serves. ``device`` is cpu or cuda, ``precision`` that of its numbers."""

    name: str
    sha256: str
    device: str
    precision: str

    @property
    def is_exact(self) -> bool:
        """Whether the same request is promised to be the same image to the last bit."""
        return self.device == "cpu" and self.precision == "fp32"


@dataclass(frozen=True)
class Answer:
    """Images as encoded files, and how they were made; ``together`` is how many were generated at once."""

    images: tuple[bytes, ...]
    adapter_sha256: str | None
    together: int


class Client:
    """One server, which several threads may ask at once."""

    def __init__(self, url: str, in_flight: int = 1) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.mount(self.url, HTTPAdapter(pool_maxsize=in_flight))
        # A proxy of the environment is not for a server that was named by its address.
        self._session.trust_env = False

    def base(self) -> ServedModel:
        """What the server serves."""
        told = self._answer("GET", "/models", None)
        return ServedModel(told["base"], told["base_sha256"], told["device"], told["precision"])

    def readiness(self) -> dict[str, Any]:
        """Whether the server is ready, or never will be and why."""
        told: dict[str, Any] = self._session.get(f"{self.url}/health/ready", timeout=5).json()
        return told

    def identify(self, adapter: str, variant: str) -> str:
        """The SHA-256 of what the server means by ``adapter``; ``BadInput`` when it cannot use that."""
        fields = {"prompt": "", "seed": 0, "steps": 1, "variant": variant, "lora_path": adapter, "lora_scale": 0}
        return str(self._answer("POST", "/generate", fields)["meta"]["loras"][0]["sha256"])

    def generate(self, fields: Mapping[str, Any]) -> Answer:
        """The images of one request.

        A server that is busy is asked again when it says. Raises ``BadInput`` when the server refuses the request,
        ``StageFailed`` when it does not answer or fails.
        """
        answer = self._answer("POST", "/generate", fields)
        loras, count = answer["meta"]["loras"], len(answer["images"])
        if count != fields.get("batch", 1):
            raise StageFailed(f"{self.url}/generate: answered {count} of {fields.get('batch', 1)} images")
        return Answer(
            images=tuple(base64.b64decode(image["b64_json"]) for image in answer["images"]),
            adapter_sha256=loras[0]["sha256"] if loras else None,
            together=answer["meta"]["together"],
        )

    def _answer(self, method: str, path: str, fields: Mapping[str, Any] | None) -> Any:
        for turn in range(_TRIES):
            response = self._send(method, path, fields)
            if response.status_code not in _BUSY or turn == _TRIES - 1:
                break
            time.sleep(_wait(response, turn))
        if 400 <= response.status_code < 500 and response.status_code not in _BUSY:
            raise BadInput(f"{self.url}{path}: refused with {response.status_code}: {_detail(response)}")
        if not response.ok:
            raise StageFailed(f"{self.url}{path}: failed with {response.status_code}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:
            raise StageFailed(f"{self.url}{path}: what was answered is no JSON: {response.text[:80]!r}") from None

    def _send(self, method: str, path: str, fields: Mapping[str, Any] | None) -> requests.Response:
        try:
            return self._session.request(method, self.url + path, json=fields, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise StageFailed(f"{self.url}: the server does not answer ({type(error).__name__}). Is it running?") from None


def _wait(response: requests.Response, turn: int) -> float:
    """Seconds until a busy server may be asked again, as it says, or longer every time."""
    told = response.headers.get("retry-after", "")
    return min(60.0, float(told)) if told.isdecimal() else _WAIT_S * 2**turn


def _detail(response: requests.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
