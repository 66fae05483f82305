"""One request fetches; others are told to come again."""

import threading

import pytest

from zthumb.server.download_guard import BeingFetched, DownloadGuard


def test_a_second_request_for_the_same_is_told_to_come_again_and_one_for_another_is_not() -> None:
    download_guard, may_end, has_begun = DownloadGuard(), threading.Event(), threading.Event()

    def fetch() -> None:
        with download_guard.alone("civitai:5@7"):
            has_begun.set()
            may_end.wait(10)

    first = threading.Thread(target=fetch)
    first.start()
    has_begun.wait(10)
    with pytest.raises(BeingFetched, match="civitai:5@7 is being fetched; ask again"), download_guard.alone("civitai:5@7"):
        pass
    with download_guard.alone("civitai:5@8"):
        pass
    may_end.set()
    first.join()
    with download_guard.alone("civitai:5@7"):
        pass


def test_what_could_not_be_fetched_may_be_tried_again() -> None:
    download_guard = DownloadGuard()
    for _ in range(2):
        with pytest.raises(OSError, match="no line"), download_guard.alone("a"):
            raise OSError("no line")
