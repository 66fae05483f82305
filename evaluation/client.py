"""The server, seen through its HTTP API."""

import base64
from dataclasses import dataclass
from typing import Any

import requests

from foundation.errors import BadInput, StageFailed

_TIMEOUT_S = 600


@dataclass(frozen=True)
class Subject:
    """What is evaluated: a base and an adapter, by name and SHA-256."""

    base: str
    base_sha256: str
    adapter_sha256: str


class Client:
    """One server."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/")
        self._session = requests.Session()
        # A proxy of the environment is not for a server that was named by its address.
        self._session.trust_env = False

    def identify(self, lora_path: str) -> Subject:
        """The base the server serves and the adapter it means by ``lora_path``; ``BadInput`` when it cannot use that."""
        served = self._answer("GET", "/models", None)
        _, meta = self.generate({"prompt": "", "seed": 0, "steps": 1, "lora_path": lora_path, "lora_scale": 0})
        return Subject(served["base"], served["base_sha256"], meta["loras"][0]["sha256"])

    def generate(self, fields: dict[str, Any]) -> tuple[bytes, dict[str, Any]]:
        """One picture as an encoded file, and the meta data of the answer.

        Raises ``BadInput`` when the server refuses the request, ``StageFailed`` when it does not answer or fails.
        """
        answer = self._answer("POST", "/generate", fields)
        return base64.b64decode(answer["images"][0]["b64_json"]), answer["meta"]

    def _answer(self, method: str, path: str, fields: dict[str, Any] | None) -> dict[str, Any]:
        try:
            response = self._session.request(method, self._url + path, json=fields, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise StageFailed(f"{self._url}: the server does not answer ({type(error).__name__}). Is it running?") from None
        if 400 <= response.status_code < 500:
            raise BadInput(f"{self._url}{path}: refused with {response.status_code}: {_detail(response)}")
        if not response.ok:
            raise StageFailed(f"{self._url}{path}: failed with {response.status_code}: {_detail(response)}")
        answer: dict[str, Any] = response.json()
        return answer


def _detail(response: requests.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
