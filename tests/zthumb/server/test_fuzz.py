"""Generated requests, valid and invalid, over HTTP: no response is a server error, and each matches the OpenAPI description."""

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

from tests.checkouts import copy_checkout
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import settings as server_settings
from tests.zthumb.server.conftest import started

pytestmark = pytest.mark.slow

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="module")
def small(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server that accepts only a few steps per request, so that every request is done soon, and trains in a copy."""
    checkout = copy_checkout(tmp_path_factory.mktemp("project"), MINIATURE)
    with started(server_settings(models, queue_capacity=26, training=checkout)) as client:
        yield client


def _operations() -> list[str]:
    """Return every route; a test checks that the list is complete."""
    system = ["/models", "/capabilities", "/presets", "/metrics", "/health/live", "/health/ready", "/v1/models"]
    system += [f"/sdapi/v1/{name}" for name in ("options", "sd-models", "samplers", "schedulers", "loras", "progress")]
    system += ["/findings", "/session", "/jobs", "/images", "/adapters", "/reports"]
    jobs = ["GET /jobs/{job}", "GET /jobs/{job}/events", "DELETE /jobs/{job}", "GET /images/{image}"]
    jobs += ["GET /jobs/{job}/preview", "GET /images/{image}/thumbnail", "GET /images/{image}/parameters", "GET /reports/{run}"]
    jobs += [
        "GET /adapters/details",
        "GET /adapters/preview",
        "PUT /adapters/{file}",
        "PATCH /images/{image}",
        "DELETE /images/{image}",
        "POST /images/{image}/restore",
        "DELETE /session",
    ]
    generating = ["/generate", "/prompts/read", "/jobs", "/images/inspect", "/v1/images/generations", "/api/v1/images/generate"]
    generating += ["/sdapi/v1/txt2img", "/sdapi/v1/options", "/sdapi/v1/png-info", "/session"]
    return [*(f"GET {path}" for path in system), *jobs, *(f"POST {path}" for path in generating), *_of_training()]


def _of_training() -> list[str]:
    """Return the routes for data sets, recipes and runs."""
    image = "/datasets/{name}/images/{file}"
    datasets = ["GET /datasets", "POST /datasets", "GET /datasets/{name}", "GET /datasets/{name}/preview"]
    datasets += [f"{method} {image}" for method in ("GET", "PUT", "DELETE")] + ["POST /datasets/{name}/prepare"]
    datasets += ["PUT /datasets/{name}/captions/{file}", "PUT /datasets/{name}/crops/{file}"]
    recipes = ["GET /recipes", "GET /recipes/{name}", "POST /recipes/estimate"]
    runs = ["GET /training", "GET /runs", "POST /runs", "POST /evaluations", "GET /runs/{name}", "DELETE /runs/{name}"]
    runs += ["GET /runs/{name}/course", "GET /runs/{name}/previews/{step}/{file}", "POST /runs/{name}/stop"]
    return [*datasets, *recipes, *runs, "POST /runs/{name}/resume", "GET /comparisons"]


ENDLESS = ["GET /events"]
"""What is never answered to the end."""

SLOW = ["POST /recipes/estimate"]
"""What takes seconds to answer."""

OF_WHAT_IS_THERE = (
    "/adapters/details",
    "/adapters/preview",
    "/images/inspect",
    "/sdapi/v1/png-info",
    "/sdapi/v1/options",
    "/session",
    "/runs",
    "/evaluations",
    "/comparisons",
)
"""Routes whose requests name things that a generated one does not know."""

VALID, INVALID = GenerationMode.POSITIVE, GenerationMode.NEGATIVE


@pytest.mark.parametrize(
    ("operation", "mode"),
    [(operation, VALID) for operation in _operations() if operation not in SLOW]
    # A route without parameters and body has no invalid requests.
    + [(operation, INVALID) for operation in _operations() if "{" in operation or "POST" in operation],
)
def test_no_request_causes_a_server_error(operation: str, mode: GenerationMode, small: TestClient) -> None:
    method, path = operation.split()
    seen: set[int] = set()
    schema = schemathesis.openapi.from_asgi("/openapi.json", small.app, headers={"Host": "127.0.0.1:8000"})

    @settings(max_examples=15, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(schema[path][method].as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        answer = case.call(session=small, base_url="http://127.0.0.1:8000")
        seen.add(answer.status_code)
        case.validate_response(answer, checks=CHECKS)

    ask()
    if mode is VALID and "{" not in path and path not in OF_WHAT_IS_THERE:
        assert seen & {200, 201, 202}, f"none of the requests succeeded: {seen}"


def test_every_route_is_in_the_list(small: TestClient) -> None:
    paths = small.get("/openapi.json").json()["paths"]
    assert sorted([*_operations(), *ENDLESS]) == sorted(
        f"{method.upper()} {path}" for path, methods in paths.items() for method in methods
    )


def test_every_route_is_described_with_examples(small: TestClient) -> None:
    description = small.get("/openapi.json").json()
    schemas = description["components"]["schemas"]

    def examples(content: dict[str, Any]) -> list[Any]:
        schema = content["schema"]
        name = schema.get("$ref", "").rpartition("/")[2]
        return list(schema.get("examples", []) or schemas.get(name, {}).get("examples", []) or content.get("examples", []))

    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            route = f"{method} {path}"
            assert operation["summary"], route
            for content in operation.get("requestBody", {}).get("content", {}).values():
                assert "contentMediaType" in content["schema"] or examples(content), route
            for status in ("200", "201", "202"):
                json_response = operation["responses"].get(status, {}).get("content", {}).get("application/json")
                assert json_response is None or not json_response["schema"] or examples(json_response), route
            for parameter in operation.get("parameters", []):
                assert parameter["schema"].get("examples"), route


def test_examples_match_their_schemas(small: TestClient) -> None:
    import jsonschema_rs

    description = small.get("/openapi.json").json()
    count = 0
    for schema in description["components"]["schemas"].values():
        validator = jsonschema_rs.validator_for({**schema, "components": description["components"]})
        for example in schema.get("examples", []):
            validator.validate(json.loads(json.dumps(example)))
            count += 1
    assert count > 12
