"""Training over HTTP: data sets image by image, a recipe's form, and a run from its images to its verdict."""

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.checkouts import PROMPTS, TINY_CHANGES, copy_checkout
from tests.conftest import MINIATURE
from tests.zthumb.server.conftest import settings, started

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    checkout = copy_checkout(tmp_path_factory.mktemp("project"), MINIATURE)
    (checkout / "evaluation" / "prompts" / "tiny.yaml").write_text(PROMPTS)
    return checkout


@pytest.fixture(scope="module")
def client(models: Path, checkout: Path) -> Iterator[TestClient]:
    with started(settings(models, training=checkout, models_folder=checkout / "models")) as client:
        yield client


def _png(colour: str = "red", size: tuple[int, int] = (160, 128)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "png")
    return buffer.getvalue()


def _until(client: TestClient, name: str, *states: str) -> dict[str, Any]:
    for _ in range(4000):
        run: dict[str, Any] = client.get(f"/runs/{name}").json()
        if run["state"] in states:
            return run
        assert run["state"] not in ("failed", "interrupted"), client.get(f"/runs/{name}/course").json()["log"]
        time.sleep(0.1)
    raise AssertionError(run)


def test_a_server_that_was_not_told_to_train_does_not(models: Path) -> None:
    with started(settings(models)) as client:
        assert client.get("/training").json() == {"is_enabled": False}
        refused = client.post("/runs", json={"name": "a", "dataset": "z", "recipe": "mini"})
    assert refused.status_code == 404
    assert "ZTHUMB_TRAINING" in refused.json()["detail"]


def test_images_are_added_captioned_cropped_and_removed(client: TestClient, checkout: Path) -> None:
    assert client.post("/datasets", json={"name": "mine", "trigger": "mxcat"}).status_code == 201
    added = client.put("/datasets/mine/images/one.png", content=_png()).json()
    assert added["file"] == "one.png"
    assert added["caption"] is None
    captioned = client.put("/datasets/mine/captions/one.png", json={"caption": "a photo of a red mxcat"}).json()
    assert captioned["caption"] == "a photo of a red mxcat"
    # When it is cropped, the whole image is kept and can be put back.
    cropped = client.put("/datasets/mine/crops/one.png", json={"box": [10, 20, 110, 120]}).json()
    assert cropped["is_cropped"]
    with Image.open(io.BytesIO(client.get("/datasets/mine/images/one.png").content)) as shown:
        assert shown.size == (100, 100)
    assert client.get("/datasets/mine").json()["images"] == [cropped]
    whole = client.put("/datasets/mine/crops/one.png", json={"box": None}).json()
    assert not whole["is_cropped"]
    with Image.open(checkout / "datasets/mine/raw/one.png") as put_back:
        assert put_back.size == (160, 128)
    assert whole["caption"] == "a photo of a red mxcat"
    small = Image.open(io.BytesIO(client.get("/datasets/mine/images/one.png", params={"edge": 64}).content))
    assert max(small.size) == 64
    assert client.delete("/datasets/mine/images/one.png").status_code == 204
    assert list((checkout / "datasets/mine/raw").iterdir()) == []


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("two.png", b"no image", "not an image"),
        ("two.png", _png()[:-40], "decoded"),
        ("two.txt", b"a photo", "not called as an image"),
        ("../two.png", _png(), "no name for a file"),
        (".two.png", _png(), "no name for a file"),
    ],
)
def test_what_is_no_image_is_refused_at_once_and_leaves_nothing(
    client: TestClient, checkout: Path, file: str, content: bytes, reason: str
) -> None:
    client.post("/datasets", json={"name": "refused", "trigger": "mxcat"})
    answer = client.put(f"/datasets/refused/images/{file.replace('/', '%2F')}", content=content)
    assert answer.status_code == 422, answer.text
    assert reason in answer.json()["detail"]
    assert list((checkout / "datasets/refused/raw").iterdir()) == []


def test_what_the_preparation_has_to_say_of_the_images_is_shown(client: TestClient) -> None:
    client.post("/datasets", json={"name": "said", "trigger": "mxcat"})
    empty = client.post("/datasets/said/prepare", json={"recipe": "mini"})
    assert empty.status_code == 422
    assert "no images" in empty.json()["detail"]
    client.put("/datasets/said/images/a.png", content=_png())
    missing = client.post("/datasets/said/prepare", json={"recipe": "mini"})
    assert "no caption" in missing.json()["detail"]
    client.put("/datasets/said/captions/a.png", json={"caption": "a photo of a ring"})
    lines = client.post("/datasets/said/prepare", json={"recipe": "mini"}).json()["lines"]
    assert "warning: the caption does not contain the trigger: raw/a.png" in lines
    assert client.get("/datasets/said/preview").headers["content-type"] == "image/png"


def test_two_images_that_are_called_the_same_are_not_one_after_a_crop(client: TestClient, checkout: Path) -> None:
    client.post("/datasets", json={"name": "alike", "trigger": "mxcat"})
    raw = checkout / "datasets" / "alike" / "raw"
    Image.new("RGB", (64, 64)).save(raw / "a.jpg")
    (raw / "a.png").write_bytes(_png("blue"))
    refused = client.put("/datasets/alike/crops/a.jpg", json={"box": [0, 0, 32, 32]})
    assert refused.status_code == 422
    assert "would replace a.png" in refused.json()["detail"]
    assert sorted(path.name for path in raw.iterdir()) == ["a.jpg", "a.png"]


def test_a_photo_is_cropped_without_loss_and_comes_back_as_it_was(client: TestClient, checkout: Path) -> None:
    client.post("/datasets", json={"name": "photo", "trigger": "mxcat"})
    raw = checkout / "datasets" / "photo" / "raw"
    Image.effect_noise((96, 80), 40).convert("RGB").save(raw / "b.jpg")
    before = (raw / "b.jpg").read_bytes()
    assert client.put("/datasets/photo/crops/b.jpg", json={"box": [0, 0, 64, 64]}).json()["file"] == "b.png"
    assert client.put("/datasets/photo/crops/b.png", json={"box": None}).json()["file"] == "b.jpg"
    assert [path.name for path in raw.iterdir()] == ["b.jpg"]
    assert (raw / "b.jpg").read_bytes() == before


def test_a_data_set_of_another_layout_is_not_turned_into_one_of_a_single_image(client: TestClient, checkout: Path) -> None:
    folder = checkout / "datasets" / "kohya" / "img" / "10_mxcat cat"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(_png())
    refused = client.put("/datasets/kohya/images/b.png", content=_png())
    assert refused.status_code == 422
    assert "its images are not in raw/" in refused.json()["detail"]
    assert not (checkout / "datasets" / "kohya" / "raw").exists()


def test_a_form_has_the_limits_of_every_key_and_the_recipes_values(client: TestClient) -> None:
    recipes = client.get("/recipes").json()
    names = [recipe["name"] for recipe in recipes["recipes"]]
    assert {"mini", "tiny"} <= set(recipes["prompts"])
    assert "mini" in names
    form = client.get("/recipes/mini").json()
    assert form["values"]["adapter"]["rank"] == 32
    assert form["schema"]["$defs"]["AdapterRecipe"]["properties"]["rank"]["maximum"] == 256
    lines = client.post("/recipes/estimate", json={"recipe": "mini", "changes": {"batch_size": 2}}).json()["lines"]
    assert any("at the peak" in line for line in lines)
    wrong = client.post("/recipes/estimate", json={"recipe": "mini", "changes": {"adapter": {"rank": 0}}})
    assert wrong.status_code == 422
    assert wrong.json()["detail"].startswith("adapter.rank: ")


def test_a_run_that_cannot_be_is_refused_before_it_is_one(client: TestClient) -> None:
    run = {"name": "refused", "dataset": "z", "recipe": "mini"}
    for wrong, reason in (
        ({"name": "../up"}, "name"),
        ({"dataset": "gone"}, "gone"),
        ({"prompts": "gone"}, "prompts"),
        ({"changes": {"stepps": 3}}, "Did you mean 'steps'?"),
        ({"changes": {"extends": "/etc/passwd"}}, "extends"),
    ):
        answer = client.post("/runs", json={**run, **wrong})
        assert answer.status_code == 422, wrong
        assert reason in answer.json()["detail"]
    assert client.post("/runs", json={**run, "recipe": "../mini"}).status_code == 404
    assert client.get("/runs/refused").status_code == 404


def test_a_run_becomes_a_verdict_and_an_evaluation_of_its_adapter_can_be_asked_for(client: TestClient, checkout: Path) -> None:
    body = {"name": "first", "dataset": "z", "recipe": "mini", "changes": TINY_CHANGES, "prompts": "tiny"}
    assert client.post("/runs", json=body).json()["state"] == "waiting"
    assert client.post("/runs", json=body).status_code == 422
    # Of two, one waits, and has nothing to show.
    second = client.post("/runs", json={**body, "name": "second"}).json()
    assert second["state"] == "waiting"
    assert client.get("/runs/second/course").json()["metrics"] == []
    assert client.post("/runs/second/stop").json()["state"] == "stopped"
    done = _until(client, "first", "done")
    assert done["step"] == done["steps"] == 4
    assert done["sentence"].startswith("inconclusive")
    assert done["has_report"]
    course = client.get("/runs/first/course", params={"after": 2}).json()
    assert [values["step"] for values in course["metrics"]] == [3, 4]
    assert [validation["step"] for validation in course["validations"]] == [0, 2, 4]
    assert client.get(course["previews"][0]["paths"][0]).headers["content-type"] == "image/png"
    assert any(line.startswith("verdict") for line in course["log"])
    # Its adapter could be judged again, by the evaluation alone.
    again = {"name": "again", "dataset": "z", "adapter": "first", "prompts": "tiny"}
    assert client.post("/evaluations", json={**again, "adapter": "gone"}).status_code == 404
    assert client.post("/evaluations", json=again).json()["kind"] == "evaluate"
    assert client.post("/runs/again/stop").json()["state"] in ("stopping", "stopped")
    assert "first" in [report["run"] for report in client.get("/reports").json()["reports"]]
    comparison = client.get("/comparisons", params={"first": "first", "second": "first"})
    assert comparison.status_code == 422
    assert "fewer than two prompts" in comparison.json()["detail"]
    assert client.get("/comparisons", params={"first": "first", "second": "--help"}).status_code == 404
    # It has ended: it cannot be stopped, and taking it off the list leaves what it made.
    assert client.post("/runs/first/stop").status_code == 409
    assert client.delete("/runs/first").status_code == 204
    assert (checkout / "models/lora/first/first.safetensors").exists()
    # Nor is it replaced by another run of that name.
    again_named = client.post("/runs", json=body)
    assert again_named.status_code == 422
    assert "of that name already" in again_named.json()["detail"]


def test_a_run_that_is_stopped_goes_on_from_its_checkpoint(client: TestClient, checkout: Path) -> None:
    changes = {**TINY_CHANGES, "steps": 2000, "checkpoint_every": 1000}
    client.post("/runs", json={"name": "long", "dataset": "z", "recipe": "mini", "changes": changes, "prompts": "tiny"})
    for _ in range(4000):
        if (client.get("/runs/long").json()["step"] or 0) >= 3:
            break
        time.sleep(0.1)
    # The data set that it reads does not become another one under it.
    assert client.post("/datasets/z/prepare", json={"recipe": "mini"}).status_code == 409
    assert client.post("/runs/long/stop").json()["state"] in ("stopping", "stopped")
    stopped = _until(client, "long", "stopped")
    assert stopped["step"] >= 3
    assert "which is kept" in stopped["message"]
    checkpoints = list((checkout / "outputs/lora/long/checkpoints").iterdir())
    assert checkpoints
    assert client.post("/runs/long/resume").json()["state"] in ("waiting", "running")
    for _ in range(4000):
        if (client.get("/runs/long").json()["step"] or 0) > stopped["step"]:
            break
        time.sleep(0.1)
    assert client.get("/runs/long").json()["step"] > stopped["step"]
    client.post("/runs/long/stop")
    _until(client, "long", "stopped")
