"""Requests that nobody would send, over HTTP: no answer is a fault of the server's, and each is as the API's description says."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from tests.zthumb.server.conftest import settings as server_settings
from tests.zthumb.server.conftest import started

pytestmark = pytest.mark.slow

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def small(models: Path) -> Iterator[TestClient]:
    """A server that takes on no more than a few steps at once: whatever is asked for, it is soon done."""
    with started(server_settings(models, queue_room=26)) as client:
        yield client


def _operations() -> list[str]:
    """Every route that there is; a test holds the list."""
    system = ["/models", "/capabilities", "/presets", "/metrics", "/health/live", "/health/ready", "/v1/models"]
    system += [f"/sdapi/v1/{name}" for name in ("options", "sd-models", "samplers", "schedulers", "loras", "progress")]
    jobs = ["GET /jobs/{job}", "GET /jobs/{job}/events", "DELETE /jobs/{job}", "GET /images/{image}"]
    generating = ["/generate", "/jobs", "/images/inspect", "/v1/images/generations", "/api/v1/images/generate"]
    generating += ["/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/png-info"]
    return [*(f"GET {path}" for path in system), *jobs, *(f"POST {path}" for path in generating)]


AS_DESCRIBED, OTHERWISE = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(operation, AS_DESCRIBED) for operation in _operations()]
    # Where nothing can be given nothing can be given wrongly.
    + [(operation, OTHERWISE) for operation in _operations() if "{" in operation or "POST" in operation],
)
def test_no_request_is_a_fault(operation: str, mode: GenerationMode, small: TestClient) -> None:
    method, path = operation.split()
    seen: set[int] = set()
    schema = schemathesis.openapi.from_asgi("/openapi.json", small.app, headers={"Host": "127.0.0.1:8000"})

    @settings(max_examples=20, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(session=small, base_url="http://127.0.0.1:8000")
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    ask()
    if mode is AS_DESCRIBED and "{" not in path and path not in ("/images/inspect", "/sdapi/v1/png-info", "/sdapi/v1/options"):
        assert seen & {200, 202}, f"of {seen} none was done"


def test_no_route_is_left_out(small: TestClient) -> None:
    described = small.get("/openapi.json").json()["paths"]
    assert sorted(_operations()) == sorted(f"{method.upper()} {path}" for path, told in described.items() for method in told)


def test_every_route_is_described_with_examples(small: TestClient) -> None:
    described = small.get("/openapi.json").json()
    parts = described["components"]["schemas"]

    def examples(content: dict[str, Any]) -> list[Any]:
        told = content["schema"]
        name = told.get("$ref", "").rpartition("/")[2]
        return list(told.get("examples", []) or parts.get(name, {}).get("examples", []) or content.get("examples", []))

    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            where = f"{method} {path}"
            assert operation["summary"], where
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert "contentMediaType" in content["schema"] or examples(content), where
            for status in ("200", "202"):
                json_answer = operation["responses"].get(status, {}).get("content", {}).get("application/json")
                assert json_answer is None or not json_answer["schema"] or examples(json_answer), where
            for parameter in operation.get("parameters", []):
                assert parameter["schema"].get("examples"), where


def test_examples_are_what_they_are_examples_of(small: TestClient) -> None:
    import jsonschema_rs

    described = small.get("/openapi.json").json()
    count = 0
    for part in described["components"]["schemas"].values():
        validator = jsonschema_rs.validator_for({**part, "components": described["components"]})
        for example in part.get("examples", []):
            validator.validate(json.loads(json.dumps(example)))
            count += 1
    assert count > 12
