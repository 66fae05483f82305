"""Adapters with what was found out about them, and the evaluation's reports, over HTTP."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from foundation.hashing import hash_file
from foundation.verdict import Verdict, write_verdict
from tests.zthumb.server.conftest import settings, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def library(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A server with two adapters, of which one was evaluated, and the report of that."""
    folder, reports = models / "lora" / "judged", tmp_path_factory.mktemp("reports")
    folder.mkdir()
    shutil.copy(models / "lora" / "strong" / "strong.safetensors", folder / "judged.safetensors")
    verdict = Verdict(
        protocol_version=1,
        outcome="none",
        reason="it is no better than the base",
        adapter="judged",
        adapter_sha256=hash_file(folder / "judged.safetensors"),
        base_sha256="b" * 64,
        lora_scale=None,
        metric="identity",
        extractor="mini-clip",
        effect=None,
        share_of_gap=None,
    )
    write_verdict(folder / "verdict.json", verdict)
    (reports / "first").mkdir()
    (reports / "first" / "report.html").write_text("<!doctype html><title>x</title><script>document.title = 'ran'</script>")
    write_verdict(reports / "first" / "verdict.json", verdict)
    (reports / "unfinished").mkdir()
    with started(settings(models, reports_folder=reports, download_on_request=True)) as client:
        yield client


def test_an_adapter_says_what_was_found_out_about_it_and_where(library: TestClient) -> None:
    found = {adapter["id"]: adapter for adapter in library.get("/adapters").json()["adapters"]}
    assert found["judged"]["sentence"] == "none: it is no better than the base"
    assert found["judged"]["report"] == "first"
    assert found["judged"]["bytes"] > 1000
    assert found["strong"]["verdict"] is None


def test_adapters_are_listed_page_by_page(library: TestClient) -> None:
    whole = library.get("/adapters").json()
    assert whole["next"] is None
    ids, after = [], None
    while True:
        page = library.get("/adapters", params={"limit": 1, **({"after": after} if after else {})}).json()
        assert len(page["adapters"]) == 1
        ids += [adapter["id"] for adapter in page["adapters"]]
        after = page["next"]
        if after is None:
            break
    assert ids == [adapter["id"] for adapter in whole["adapters"]] == sorted(ids)


def test_an_adapter_is_shown_by_the_image_beside_it_or_by_one_generated_with_it(library: TestClient, models: Path) -> None:
    Image.new("RGB", (600, 300), "red").save(models / "lora" / "judged" / "judged.preview.png")

    def preview(name: str) -> str | None:
        found = library.get("/adapters").json()["adapters"]
        return next(adapter["preview"] for adapter in found if adapter["id"] == name)

    beside = library.get(preview("judged") or "")
    assert Image.open(io.BytesIO(beside.content)).size == (384, 192)
    assert preview("strong") is None
    assert library.get("/adapters/preview", params={"id": "strong"}).status_code == 404
    # When an image was generated with it
    body = {"prompt": "a star", "steps": 1, "seed": 1, "loras": [{"id": "strong"}], "response_format": "url"}
    assert library.post("/generate", json=body).status_code == 200
    shown = preview("strong") or ""
    assert library.get(shown).headers["content-type"] == "image/webp"
    # Then the gallery knows it, and lists its images.
    (used,) = library.get("/images").json()["adapters"]
    assert used["path"] == "lora/strong/strong.safetensors"
    (image,) = library.get("/images", params={"adapter": used["sha256"]}).json()["images"]
    assert shown == f"{image['path']}/thumbnail"


def test_the_details_of_an_adapter_are_what_is_in_its_file(library: TestClient, models: Path) -> None:
    found = library.get("/adapters/details", params={"id": "judged"}).json()
    assert found["sha256"] == hash_file(models / "lora" / "judged" / "judged.safetensors")
    assert found["kind"] == "LoRA"
    assert sum(found["ranks"].values()) == sum(found["modules"].values()) > 0
    assert library.get("/adapters/details", params={"id": "gone"}).status_code == 404
    # A file that is no adapter says so, and its card is that of its folder.
    (models / "lora" / "broken").mkdir()
    (models / "lora" / "broken" / "broken.safetensors").write_bytes(b"nothing")
    (models / "lora" / "broken" / "README.md").write_text("# broken")
    broken = library.get("/adapters/details", params={"id": "broken"}).json()
    assert broken["card"] == "# broken"
    assert "broken.safetensors" in broken["problem"]
    assert str(models) not in broken["problem"]


def test_a_report_is_listed_once_it_has_a_page(library: TestClient) -> None:
    (report,) = library.get("/reports").json()["reports"]
    assert (report["run"], report["outcome"], report["adapter"]) == ("first", "none", "judged")


def test_a_report_may_run_its_scripts_and_nothing_else(library: TestClient) -> None:
    response = library.get("/reports/first")
    policy = response.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy
    assert response.headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("run", ["gone", "%2e%2e%2f%2e%2e", "unfinished"])
def test_what_is_no_report_is_not_found(library: TestClient, run: str) -> None:
    assert library.get(f"/reports/{run}").status_code == 404


def test_an_adapter_that_a_page_sends_is_used_at_once(library: TestClient, models: Path) -> None:
    file = (models / "lora" / "strong" / "strong.safetensors").read_bytes()
    assert library.put("/adapters/my style.safetensors", content=file).json() == {"id": "my style"}
    image = library.post("/generate", json={"prompt": "a star", "steps": 1, "seed": 1, "loras": [{"id": "my style"}]})
    assert image.json()["meta"]["loras"][0]["path"] == "lora/my style.safetensors"
    # The same file again is no mistake; another one is, under that name.
    assert library.put("/adapters/my style.safetensors", content=file).status_code == 201


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.safetensors", b"nothing", "a.safetensors"),
        ("a.bin", b"nothing", "ends with .safetensors"),
        ("..%2Fa.safetensors", b"nothing", ""),
    ],
)
def test_what_is_no_adapter_is_refused_and_leaves_nothing(
    library: TestClient, models: Path, name: str, content: bytes, reason: str
) -> None:
    before = sorted(models.rglob("*"))
    answer = library.put(f"/adapters/{name}", content=content)
    assert answer.status_code in (404, 422)
    assert reason in answer.json()["detail"]
    assert sorted(models.rglob("*")) == before


def test_a_server_for_others_takes_no_adapters(models: Path) -> None:
    with started(settings(models, download_on_request=False)) as client:
        answer = client.put("/adapters/a.safetensors", content=b"x")
    assert answer.status_code == 422
    assert "ZTHUMB_DOWNLOAD_ON_REQUEST" in answer.json()["detail"]
