"""The course of a training is read from files that are being written."""

from pathlib import Path

from zthumb.server.runs import course
from zthumb.server.runs.run_folder import Pace


def _paces(seconds: list[float]) -> list[Pace]:
    at, paces = 1000.0, [Pace(at=1000.0, step=0)]
    for step, taken in enumerate(seconds, start=1):
        at += taken
        paces.append(Pace(at=at, step=step))
    return paces


def test_a_line_that_is_half_written_is_read_with_the_next_look(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "loss": 0.4}\n{"step": 3, "lo')
    assert course.last_step(tmp_path) == 2
    assert [values["step"] for values in course.metrics(tmp_path, after=1)] == [2]


def test_before_the_first_step_there_is_nothing(tmp_path: Path) -> None:
    assert course.last_step(tmp_path) is None
    (tmp_path / "metrics.jsonl").write_text("")
    assert course.last_step(tmp_path) is None
    assert course.metrics(tmp_path, after=0) == []
    assert course.previews(tmp_path) == []


def test_previews_are_found_by_their_step(tmp_path: Path) -> None:
    for step in (100, 20):
        folder = tmp_path / "previews" / f"step-{step:06d}"
        folder.mkdir(parents=True)
        (folder / "00.png").write_bytes(b"")
    assert [(step, [path.name for path in paths]) for step, paths in course.previews(tmp_path)] == [
        (20, ["00.png"]),
        (100, ["00.png"]),
    ]
    assert course.preview(tmp_path, 100, "00.png") == tmp_path / "previews" / "step-000100" / "00.png"
    assert course.preview(tmp_path, 100, "../00.png") is None
    assert course.preview(tmp_path, 3, "00.png") is None


def test_the_time_left_is_that_of_the_steps_that_are_left() -> None:
    speed = course.speed(_paces([2.0] * 20), steps=30)
    assert speed.seconds_a_step == 2.0
    assert speed.seconds_left == 20.0
    assert not speed.has_collapsed


def test_a_single_long_step_with_a_validation_is_no_collapse_and_five_long_ones_are() -> None:
    assert not course.speed(_paces([2.0] * 20 + [60.0, 2.0]), steps=100).has_collapsed
    assert course.speed(_paces([2.0] * 20 + [9.0] * 5), steps=100).has_collapsed


def test_nothing_is_said_of_a_pace_before_two_steps() -> None:
    assert course.speed([], steps=10) == course.Speed(None, None, None)
    assert course.speed(_paces([]), steps=10).seconds_left is None


def test_the_pause_between_two_runs_of_a_training_is_none_of_its_pace() -> None:
    # Given a training that was stopped at step 5, went back to its checkpoint of step 4 an hour later, and goes on
    paces = [*_paces([1.0] * 5), Pace(at=4600.0, step=4), Pace(at=4601.0, step=5), Pace(at=4602.0, step=6)]
    assert course.speed(paces, steps=6).seconds_a_step == 1.0
