"""One request downloads a model; others are told to try again."""

import threading

import pytest

from zthumb.server.queue.download_guard import DownloadGuard, DownloadInProgress


def test_a_second_download_of_the_same_model_is_refused_and_one_of_another_model_is_not() -> None:
    guard, may_finish, has_started = DownloadGuard(), threading.Event(), threading.Event()

    def download() -> None:
        with guard.single_flight("civitai:5@7"):
            has_started.set()
            may_finish.wait(10)

    first = threading.Thread(target=download)
    first.start()
    has_started.wait(10)
    with (
        pytest.raises(DownloadInProgress, match="civitai:5@7 is being downloaded; try again"),
        guard.single_flight("civitai:5@7"),
    ):
        pass
    with guard.single_flight("civitai:5@8"):
        pass
    may_finish.set()
    first.join()
    with guard.single_flight("civitai:5@7"):
        pass


def test_a_failed_download_may_be_tried_again() -> None:
    guard = DownloadGuard()
    for _ in range(2):
        with pytest.raises(OSError, match="no line"), guard.single_flight("a"):
            raise OSError("no line")
