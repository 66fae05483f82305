"""Files downloaded from a server that behaves like real ones end complete and verified, or do not exist at all."""

import hashlib
import itertools
import mmap
import multiprocessing
import os
import random
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from foundation.errors import BadInput, SourceFailed, StageFailed
from tests.zthumb.sources.fake_civitai import FakeCivitai
from zthumb.sources.download import File, download
from zthumb.sources.guard import Policy

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def stocked(fake_civitai: FakeCivitai) -> None:
    fake_civitai.files["/model.safetensors"] = CONTENT


def _download(
    fake_civitai: FakeCivitai, target: Path, path: str = "/model.safetensors", sha256: str | None = SHA256, **options: object
) -> str:
    headers = {"authorization": "Bearer secret"}
    return download(
        File(fake_civitai.url(path), sha256, headers=headers), target, fake_civitai.policy(**options), sleep=lambda _: None
    )


def _files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix not in (".pem", ".lock")}


def test_a_file_is_downloaded_completely_and_its_progress_reported(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    reported = list[tuple[int, int | None]]()
    file = File(fake_civitai.url("/model.safetensors"), SHA256.upper())
    on_progress = lambda received, total: reported.append((received, total))  # noqa: E731
    assert download(file, tmp_path / "to" / "a.safetensors", fake_civitai.policy(), on_progress) == SHA256
    assert (tmp_path / "to" / "a.safetensors").read_bytes() == CONTENT
    assert reported[-1] == (len(CONTENT), len(CONTENT))
    assert _files_in(tmp_path / "to") == {"a.safetensors"}


def test_a_download_interrupted_twenty_times_ends_complete(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.cuts = iter([100_000] * 20)
    _download(fake_civitai, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    ranges = [request.headers["range"] for request in fake_civitai.requests if "range" in request.headers]
    starts = [int(value.removeprefix("bytes=").rstrip("-")) for value in ranges]
    # Every byte was sent once: each response started where the one before had ended.
    assert len(fake_civitai.requests) == 21
    assert starts == sorted(set(starts))


def test_a_download_killed_after_the_last_byte_is_not_started_again(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.json").write_text('{"etag": "\\"one\\""}')
    _download(fake_civitai, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [request.headers["range"] for request in fake_civitai.requests] == [f"bytes={len(CONTENT)}-"]


def test_an_expired_signed_link_is_requested_again(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.needs_ticket, fake_civitai.cuts = True, iter([50_000] * 3)
    fake_civitai.redirect = lambda path: (
        fake_civitai.url(f"/model.safetensors?{fake_civitai.issue_ticket()}") if path == "/download/1" else None
    )
    _download(fake_civitai, tmp_path / "a", "/download/1")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [request.path for request in fake_civitai.requests].count("/download/1") == 4


def test_the_login_for_the_first_host_is_not_sent_to_another(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.redirect = lambda path: fake_civitai.url("/model.safetensors", "127.0.0.1") if path == "/download/1" else None
    _download(fake_civitai, tmp_path / "a", "/download/1", hosts=frozenset({"localhost", "127.0.0.1"}))
    first, second = fake_civitai.requests
    assert first.headers["authorization"] == "Bearer secret"
    assert second.host.startswith("127.0.0.1")
    assert "authorization" not in second.headers


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_that_changed_meanwhile_is_downloaded_from_its_start(
    fake_civitai: FakeCivitai, tmp_path: Path, ranges: bool
) -> None:
    fake_civitai.cuts, fake_civitai.supports_ranges = iter([1_000_000]), ranges
    new_content = CONTENT[::-1]

    def change_file(_: float) -> None:
        fake_civitai.files["/model.safetensors"], fake_civitai.etag = new_content, '"two"'

    digest = hashlib.sha256(new_content).hexdigest()
    assert (
        download(File(fake_civitai.url("/model.safetensors"), digest), tmp_path / "a", fake_civitai.policy(), sleep=change_file)
        == digest
    )


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_without_a_strong_etag_the_download_starts_again(fake_civitai: FakeCivitai, tmp_path: Path, etag: str | None) -> None:
    fake_civitai.cuts, fake_civitai.etag = iter([1_000_000]), etag
    _download(fake_civitai, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert all("range" not in request.headers for request in fake_civitai.requests)


def test_a_wrong_hash_leaves_nothing_and_the_error_names_both_hashes(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    with pytest.raises(StageFailed) as error:
        _download(fake_civitai, tmp_path / "a", sha256="0" * 64)
    assert SHA256 in str(error.value)
    assert "0" * 64 in str(error.value)
    assert _files_in(tmp_path) == set()


def test_an_existing_file_is_verified_and_not_downloaded_again(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert _download(fake_civitai, tmp_path / "a") == SHA256
    assert fake_civitai.requests == []
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(StageFailed, match="Remove it"):
        _download(fake_civitai, tmp_path / "a")


@pytest.mark.parametrize("statuses", [[429, 429], [500, 502, 503]])
def test_a_busy_server_is_asked_again(fake_civitai: FakeCivitai, tmp_path: Path, statuses: list[int]) -> None:
    fake_civitai.statuses = iter(statuses)
    waits = list[float]()
    download(File(fake_civitai.url("/model.safetensors"), SHA256), tmp_path / "a", fake_civitai.policy(), sleep=waits.append)
    assert len(waits) == len(statuses)
    assert waits[0] == 1.0


def test_a_server_that_keeps_failing_is_given_up(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.statuses = itertools.repeat(500)
    with pytest.raises(StageFailed, match="without receiving a byte"):
        _download(fake_civitai, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "HF_TOKEN"), (403, "accept its licence"), (404, "it does not exist"), (410, "its author has removed it")],
)
def test_each_error_status_has_its_own_advice(fake_civitai: FakeCivitai, tmp_path: Path, status: int, advice: str) -> None:
    fake_civitai.statuses = iter([status])
    with pytest.raises(BadInput, match=advice) as error:
        _download(fake_civitai, tmp_path / "a")
    assert "secret" not in str(error.value)


def test_a_file_over_the_limit_or_too_large_for_the_disk_is_not_downloaded(
    fake_civitai: FakeCivitai, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BadInput, match="more than the limit of 1000"):
        _download(fake_civitai, tmp_path / "a", max_bytes=1_000)
    full = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(BadInput, match="Free disk space"):
        _download(fake_civitai, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("http://localhost/a", "only https"),
        ("https://elsewhere.example/a", "'elsewhere.example' is not one that models are downloaded from"),
        ("file:///etc/passwd", "only https"),
    ],
)
def test_a_redirect_to_a_forbidden_url_is_refused(fake_civitai: FakeCivitai, tmp_path: Path, location: str, message: str) -> None:
    fake_civitai.redirect = lambda path: location if path == "/download/1" else None
    with pytest.raises(BadInput, match=message):
        _download(fake_civitai, tmp_path / "a", "/download/1")


def test_a_host_name_that_resolves_to_a_private_network_is_refused_before_any_request(
    fake_civitai: FakeCivitai, tmp_path: Path
) -> None:
    with pytest.raises(BadInput, match="private network"):
        _download(fake_civitai, tmp_path / "a", allow_private=False)
    assert fake_civitai.requests == []


@pytest.mark.parametrize(
    ("address", "is_refused"),
    [
        ("127.0.0.1", True),
        ("10.1.2.3", True),
        ("169.254.169.254", True),
        ("192.168.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("::ffff:10.0.0.1", True),
        ("100.64.0.1", True),
        ("1.1.1.1", False),
        ("2606:4700::1111", False),
    ],
)
def test_addresses_of_private_networks_are_refused(address: str, is_refused: bool) -> None:
    if not is_refused:
        Policy().check_ip(address)
        return
    with pytest.raises(BadInput, match="private network"):
        Policy().check_ip(address)


def test_endless_redirects_are_an_error(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.redirect = lambda path: fake_civitai.url(path)
    with pytest.raises(StageFailed, match="too many redirects"):
        _download(fake_civitai, tmp_path / "a")


def test_a_certificate_of_an_unknown_authority_is_refused(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="without receiving a byte"):
        _download(fake_civitai, tmp_path / "a", ca_bundle=None)
    assert fake_civitai.requests == []


def _download_in_process(url: str, ca_bundle: str, target: Path) -> None:
    policy = Policy(hosts=frozenset({str(urlsplit(url).hostname)}), allow_private=True, ca_bundle=ca_bundle)
    download(File(url, SHA256), target, policy)


def test_two_processes_download_a_file_once(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.pause_s = 0.005
    context = multiprocessing.get_context("spawn")
    arguments = (fake_civitai.url("/model.safetensors"), str(fake_civitai.ca_bundle), tmp_path / "a")
    processes = [context.Process(target=_download_in_process, args=arguments) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(timeout=240)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(fake_civitai.requests) == 1
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_large_file_ends_complete_after_twenty_interruptions(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    """DOWNLOAD_TEST_BYTES=7000000000 runs it with the size of SDXL base 1.0; it needs twice that disk space."""
    size = int(os.environ.get("DOWNLOAD_TEST_BYTES", "60000000"))
    stored = tmp_path / "stored"
    with stored.open("wb") as file:
        file.truncate(size)
        for offset in range(0, size, size // 50):
            file.seek(offset)
            file.write(random.Random(offset).randbytes(1000))
    with stored.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as content:
        fake_civitai.files["/large.safetensors"] = content
        fake_civitai.cuts = iter([size // 25] * 20)
        digest = hashlib.sha256(content).hexdigest()
        assert _download(fake_civitai, tmp_path / "large.safetensors", "/large.safetensors", digest) == digest
        del fake_civitai.files["/large.safetensors"]
    assert len(fake_civitai.requests) == 21
    assert (tmp_path / "large.safetensors").stat().st_size == size


def test_secrets_in_a_url_are_not_shown(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    url = fake_civitai.url("/model.safetensors?token=SECRET").replace(str(fake_civitai.port), "1")  # nobody listens there
    with pytest.raises(SourceFailed) as caught:
        download(File(url), tmp_path / "a", fake_civitai.policy(), sleep=lambda _: None)
    assert "cannot be reached" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_web_page_instead_of_a_file_is_refused(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.content_type = "text/html; charset=utf-8"
    with pytest.raises(BadInput, match="sent a web page instead of a file"):
        _download(fake_civitai, tmp_path / "a")
    assert _files_in(tmp_path) == set()


def test_a_file_is_requested_uncompressed(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    _download(fake_civitai, tmp_path / "a")
    assert fake_civitai.requests[0].headers["accept-encoding"] == "identity"


def test_a_retry_delay_of_a_day_is_shortened(fake_civitai: FakeCivitai, tmp_path: Path) -> None:
    fake_civitai.statuses, fake_civitai.retry_after, waits = iter([429]), "86400", list[float]()
    download(File(fake_civitai.url("/model.safetensors"), SHA256), tmp_path / "a", fake_civitai.policy(), sleep=waits.append)
    assert waits == [120]
