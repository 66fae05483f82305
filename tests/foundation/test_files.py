import subprocess
import sys
from pathlib import Path

import pytest

from foundation.files import atomic_directory, atomic_file, read_json, write_json


def test_a_file_is_replaced_only_when_it_was_written_completely(tmp_path: Path) -> None:
    target = tmp_path / "target.json"
    write_json(target, {"a": 1})
    with pytest.raises(RuntimeError), atomic_file(target) as path:
        path.write_text("half")
        raise RuntimeError("killed in the middle")
    assert read_json(target) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["target.json"]


def test_a_folder_is_replaced_only_when_it_was_filled_completely(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with atomic_directory(target) as folder:
        (folder / "old").write_text("old")
    with pytest.raises(RuntimeError), atomic_directory(target) as folder:
        (folder / "new").write_text("new")
        raise RuntimeError("killed in the middle")
    assert [path.name for path in target.iterdir()] == ["old"]
    with atomic_directory(target) as folder:
        (folder / "new").write_text("new")
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("writer", ["atomic_file", "atomic_directory"])
def test_temporary_files_of_a_killed_writer_are_removed_by_the_next_and_those_of_a_running_writer_stay(
    tmp_path: Path, writer: str
) -> None:
    killed = f"""
import os, signal
from pathlib import Path
from foundation.files import {writer}
with {writer}(Path({str(tmp_path / "target")!r})):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert len(list(tmp_path.iterdir())) == 1

    with atomic_file(tmp_path / "target") as first, atomic_file(tmp_path / "target") as second:
        assert sorted(tmp_path.iterdir()) == sorted([first, second])

    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_old_folder_that_a_killed_writer_had_renamed_is_removed_too(tmp_path: Path) -> None:
    killed = f"""
import os, shutil, signal
from pathlib import Path
from foundation.files import atomic_directory
shutil.rmtree = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
for _ in range(2):
    with atomic_directory(Path({str(tmp_path / "target")!r})):
        pass
"""
    (tmp_path / "target").mkdir()
    subprocess.run([sys.executable, "-c", killed], check=False)
    assert len(list(tmp_path.iterdir())) == 2

    with atomic_directory(tmp_path / "target"):
        pass

    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_equal_values_give_equal_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a", {"x": 1, "y": "ü"})
    write_json(tmp_path / "b", {"y": "ü", "x": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
