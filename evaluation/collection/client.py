"""A client of the server's HTTP API."""

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from foundation.errors import BadInput, StageFailed

_TIMEOUT_S = 600
_MAX_ATTEMPTS = 6
_RETRY_DELAY_S = 2.0
_BUSY_STATUS = (429, 503)


@dataclass(frozen=True)
class ServedModel:
    """The model that the server serves. ``device`` is cpu or cuda, ``precision`` that of its weights and arithmetic."""

    name: str
    sha256: str
    device: str
    precision: str

    @property
    def is_exact(self) -> bool:
        """Whether the server promises bit-identical images for identical requests."""
        return self.device == "cpu" and self.precision == "fp32"


@dataclass(frozen=True)
class GenerateResponse:
    """Images as encoded files, and how they were generated; ``batch_size`` is how many were generated at once."""

    images: tuple[bytes, ...]
    adapter_sha256: str | None
    batch_size: int


class Client:
    """A client of one server; several threads may use it at once."""

    def __init__(self, url: str, in_flight: int = 1) -> None:
        self.url = url.rstrip("/")
        self._session = requests.Session()
        self._session.mount(self.url, HTTPAdapter(pool_maxsize=in_flight))
        # A proxy set in the environment is not meant for a server that was given by its address.
        self._session.trust_env = False

    def served_model(self) -> ServedModel:
        """Return the model that the server serves."""
        models = self._request_json("GET", "/models", None)
        return ServedModel(models["base"], models["base_sha256"], models["device"], models["precision"])

    def readiness(self) -> dict[str, Any]:
        """Return whether the server is ready, or has failed to start and why."""
        status: dict[str, Any] = self._session.get(f"{self.url}/health/ready", timeout=5).json()
        return status

    def identify(self, adapter: str, variant: str) -> str:
        """Return the SHA-256 of the adapter that the server loads for ``adapter``; ``BadInput`` if it cannot use that."""
        fields = {"prompt": "", "seed": 0, "steps": 1, "variant": variant, "lora_path": adapter, "lora_scale": 0}
        return str(self._request_json("POST", "/generate", fields)["meta"]["loras"][0]["sha256"])

    def generate(self, fields: Mapping[str, Any]) -> GenerateResponse:
        """Generate the images of one request.

        If the server is busy, the request is sent again after the delay that it names. Raises ``BadInput`` if the server
        refuses the request, ``StageFailed`` if it does not answer or fails.
        """
        response = self._request_json("POST", "/generate", fields)
        loras, count = response["meta"]["loras"], len(response["images"])
        if count != fields.get("batch", 1):
            raise StageFailed(f"{self.url}/generate: returned {count} of {fields.get('batch', 1)} images")
        return GenerateResponse(
            images=tuple(base64.b64decode(image["b64_json"]) for image in response["images"]),
            adapter_sha256=loras[0]["sha256"] if loras else None,
            batch_size=response["meta"]["batch_size"],
        )

    def _request_json(self, method: str, path: str, fields: Mapping[str, Any] | None) -> Any:
        for attempt in range(_MAX_ATTEMPTS):
            response = self._send(method, path, fields)
            if response.status_code not in _BUSY_STATUS or attempt == _MAX_ATTEMPTS - 1:
                break
            time.sleep(_retry_delay(response, attempt))
        if 400 <= response.status_code < 500 and response.status_code not in _BUSY_STATUS:
            raise BadInput(f"{self.url}{path}: refused with {response.status_code}: {_detail(response)}")
        if not response.ok:
            raise StageFailed(f"{self.url}{path}: failed with {response.status_code}: {_detail(response)}")
        try:
            return response.json()
        except ValueError:
            raise StageFailed(f"{self.url}{path}: the response is not JSON: {response.text[:80]!r}") from None

    def _send(self, method: str, path: str, fields: Mapping[str, Any] | None) -> requests.Response:
        try:
            return self._session.request(method, self.url + path, json=fields, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise StageFailed(f"{self.url}: the server does not answer ({type(error).__name__}). Is it running?") from None


def _retry_delay(response: requests.Response, attempt: int) -> float:
    """Return the seconds to wait for a busy server: what it says, at most 60, or twice as long with every attempt."""
    retry_after = response.headers.get("retry-after", "")
    return min(60.0, float(retry_after)) if retry_after.isdecimal() else _RETRY_DELAY_S * 2**attempt


def _detail(response: requests.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]
