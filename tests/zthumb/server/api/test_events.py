"""One stream of all that changes: what a page sees of a job, and how it catches up after it was away."""

import asyncio
import json
import time
from typing import Any

import pytest
from fastapi.testclient import TestClient

from zthumb.server.api.events import _lines
from zthumb.server.queue.event_log import EventLog

REQUEST = {"prompt": "a photo of a red star", "steps": 3, "seed": 2**60 + 1}


def _wait(client: TestClient, job: str) -> None:
    for _ in range(3000):
        if client.get(f"/jobs/{job}").json()["state"] == "done":
            return
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def _read(client: TestClient, known: str | None, until: str) -> list[tuple[str, str, Any]]:
    """The events (id, kind, data) of a stream, until one whose data has the text ``until``."""

    async def collect() -> list[tuple[str, str, Any]]:
        state, found = client.app.state, []
        async for text in _lines(state.events, state.job_listing, known):
            fields = dict(line.split(": ", 1) for line in text.strip().splitlines() if ": " in line)
            if "data" in fields:
                found.append((fields["id"], fields["event"], json.loads(fields["data"])))
                if until in fields["data"]:
                    break
        return found

    future = asyncio.run_coroutine_threadsafe(asyncio.wait_for(collect(), 60), _loop(client))
    return future.result(70)


def _loop(client: TestClient) -> asyncio.AbstractEventLoop:
    loop: asyncio.AbstractEventLoop = client.portal.call(asyncio.get_running_loop)  # type: ignore[union-attr]
    return loop


@pytest.mark.slow
def test_a_job_is_followed_from_the_queue_to_its_images(client: TestClient) -> None:
    # Given a page that follows the server
    (first,) = _read(client, None, "jobs")
    assert first[1] == "snapshot"
    # When a job is generated
    job = client.post("/jobs", json=REQUEST).json()["id"]
    events = _read(client, first[0], '"state":"done"')
    # Then every change of it is told, with the seed as text
    assert {kind for _, kind, _ in events} == {"job"}
    own = [data for _, _, data in events if data["id"] == job]
    assert own[-1]["images"][0]["seed"] == str(REQUEST["seed"])
    assert own[-1]["request"]["seed"] == str(REQUEST["seed"])
    assert [data["progress"] for data in own] == sorted(data["progress"] for data in own)
    # And whoever was away in between gets what was missed, and nothing twice
    again = _read(client, events[0][0], '"state":"done"')
    assert [event[0] for event in again] == [event[0] for event in events[1:]]


@pytest.mark.slow
def test_a_page_of_another_run_of_the_server_begins_again(client: TestClient) -> None:
    (first,) = _read(client, "00000000-7", "jobs")
    assert first[1] == "snapshot"


@pytest.mark.slow
def test_jobs_are_listed_in_pages_the_newest_first(client: TestClient) -> None:
    jobs = [client.post("/jobs", json={**REQUEST, "seed": seed}).json()["id"] for seed in range(3)]
    _wait(client, jobs[-1])
    first = client.get("/jobs", params={"limit": 2}).json()
    second = client.get("/jobs", params={"limit": 2, "before": first["next"]}).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]][:3] == jobs[::-1]


@pytest.mark.slow
def test_what_was_given_is_what_a_job_says(client: TestClient) -> None:
    job = client.post("/jobs", json=REQUEST).json()["id"]
    (entry,) = client.get("/jobs", params={"limit": 1}).json()["jobs"]
    assert entry["id"] == job
    assert entry["request"]["prompt"] == REQUEST["prompt"]
    assert "negative_prompt" not in entry["request"]
    _wait(client, job)


def test_a_log_knows_what_it_still_has() -> None:
    async def run() -> None:
        log = EventLog()
        start = log.last_id
        assert log.knows(start)
        for index in range(5000):
            log.append("job", str(index))
        assert not log.knows(start)
        assert not log.knows("other-1")
        assert not log.knows("nonsense")
        recent = f"{log.last_id.partition('-')[0]}-4998"
        assert log.knows(recent)
        events = log.follow(recent, 0.01)
        found = [await anext(events) for _ in range(2)]
        assert [event.data for event in found if event] == ["4998", "4999"]
        # What was forgotten is known no more, and who followed it begins again.
        log.forget()
        assert not log.knows(recent)
        assert [event async for event in events] == []

    asyncio.run(run())


def test_nothing_for_a_while_is_told_too() -> None:
    async def run() -> None:
        log = EventLog()
        events = log.follow(log.last_id, 0.01)
        assert await anext(events) is None
        log.append("job", "1")
        event = await anext(events)
        assert event is not None
        assert event.data == "1"

    asyncio.run(run())
