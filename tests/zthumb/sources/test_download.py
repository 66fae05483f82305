"""Files fetched from a server that behaves like the real ones: whole and right in the end, or not there at all."""

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
from tests.zthumb.sources.shop import Shop
from zthumb.sources.download import File, download
from zthumb.sources.guard import Policy

CONTENT = random.Random(0).randbytes(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def stocked(shop: Shop) -> None:
    shop.stock["/model.safetensors"] = CONTENT


def _get(shop: Shop, target: Path, path: str = "/model.safetensors", sha256: str | None = SHA256, **options: object) -> str:
    headers = {"authorization": "Bearer secret"}
    return download(File(shop.url(path), sha256, headers=headers), target, shop.policy(**options), sleep=lambda _: None)


def _left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix not in (".pem", ".lock")}


def test_a_file_comes_whole_and_its_progress_is_told(shop: Shop, tmp_path: Path) -> None:
    seen = list[tuple[int, int | None]]()
    file = File(shop.url("/model.safetensors"), SHA256.upper())
    watch = lambda have, total: seen.append((have, total))  # noqa: E731
    assert download(file, tmp_path / "to" / "a.safetensors", shop.policy(), watch) == SHA256
    assert (tmp_path / "to" / "a.safetensors").read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert _left(tmp_path / "to") == {"a.safetensors"}


def test_interrupted_twenty_times_it_ends_whole_and_right(shop: Shop, tmp_path: Path) -> None:
    shop.cut = iter([100_000] * 20)
    _get(shop, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    begun = [int(each.headers["range"].removeprefix("bytes=").rstrip("-")) for each in shop.asked if "range" in each.headers]
    # Every byte came once: each answer began where the one before had ended.
    assert len(shop.asked) == 21
    assert begun == sorted(set(begun))


def test_killed_after_the_last_byte_it_does_not_begin_anew(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "a.part").write_bytes(CONTENT)
    (tmp_path / "a.part.json").write_text('{"etag": "\\"one\\""}')
    _get(shop, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [each.headers["range"] for each in shop.asked] == [f"bytes={len(CONTENT)}-"]


def test_a_signed_link_that_has_expired_is_asked_for_anew(shop: Shop, tmp_path: Path) -> None:
    shop.signed, shop.cut = True, iter([50_000] * 3)
    shop.redirect = lambda path: shop.url(f"/model.safetensors?{shop.ticket()}") if path == "/download/1" else None
    _get(shop, tmp_path / "a", "/download/1")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [each.path for each in shop.asked].count("/download/1") == 4


def test_what_was_for_the_first_host_is_not_told_to_another(shop: Shop, tmp_path: Path) -> None:
    shop.redirect = lambda path: shop.url("/model.safetensors", "127.0.0.1") if path == "/download/1" else None
    _get(shop, tmp_path / "a", "/download/1", hosts=frozenset({"localhost", "127.0.0.1"}))
    first, second = shop.asked
    assert first.headers["authorization"] == "Bearer secret"
    assert second.host.startswith("127.0.0.1")
    assert "authorization" not in second.headers


@pytest.mark.parametrize("ranges", [True, False])
def test_another_version_meanwhile_is_fetched_from_its_beginning(shop: Shop, tmp_path: Path, ranges: bool) -> None:
    shop.cut, shop.ranges = iter([1_000_000]), ranges
    other = CONTENT[::-1]

    def changed(_: float) -> None:
        shop.stock["/model.safetensors"], shop.etag = other, '"two"'

    digest = hashlib.sha256(other).hexdigest()
    assert download(File(shop.url("/model.safetensors"), digest), tmp_path / "a", shop.policy(), sleep=changed) == digest


@pytest.mark.parametrize("etag", [None, 'W/"one"'])
def test_without_a_mark_that_promises_the_same_bytes_it_begins_anew(shop: Shop, tmp_path: Path, etag: str | None) -> None:
    shop.cut, shop.etag = iter([1_000_000]), etag
    _get(shop, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert all("range" not in each.headers for each in shop.asked)


def test_a_wrong_hash_leaves_nothing_and_tells_both(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(StageFailed) as error:
        _get(shop, tmp_path / "a", sha256="0" * 64)
    assert SHA256 in str(error.value)
    assert "0" * 64 in str(error.value)
    assert _left(tmp_path) == set()


def test_one_that_is_there_is_checked_and_not_fetched_again(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    assert _get(shop, tmp_path / "a") == SHA256
    assert shop.asked == []
    (tmp_path / "a").write_bytes(b"other")
    with pytest.raises(StageFailed, match="Remove it"):
        _get(shop, tmp_path / "a")


@pytest.mark.parametrize("statuses", [[429, 429], [500, 502, 503]])
def test_a_server_that_is_busy_is_asked_again(shop: Shop, tmp_path: Path, statuses: list[int]) -> None:
    shop.status = iter(statuses)
    waited = list[float]()
    download(File(shop.url("/model.safetensors"), SHA256), tmp_path / "a", shop.policy(), sleep=waited.append)
    assert len(waited) == len(statuses)
    assert waited[0] == 1.0


def test_one_that_fails_again_and_again_is_given_up(shop: Shop, tmp_path: Path) -> None:
    shop.status = itertools.repeat(500)
    with pytest.raises(StageFailed, match="without a byte"):
        _get(shop, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "HF_TOKEN"), (403, "accept its licence"), (404, "nothing is there"), (410, "taken back")]
)
def test_each_refusal_has_its_own_advice(shop: Shop, tmp_path: Path, status: int, advice: str) -> None:
    shop.status = iter([status])
    with pytest.raises(BadInput, match=advice) as error:
        _get(shop, tmp_path / "a")
    assert "secret" not in str(error.value)


def test_more_than_is_allowed_or_fits_is_not_begun(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="the most that is fetched"):
        _get(shop, tmp_path / "a", most_bytes=1_000)
    full = shutil._ntuple_diskusage(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(BadInput, match="Make room"):
        _get(shop, tmp_path / "a")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("onward", "told"),
    [
        ("http://localhost/a", "only https"),
        ("https://elsewhere.example/a", "'elsewhere.example' is not one that models are fetched from"),
        ("file:///etc/passwd", "only https"),
    ],
)
def test_a_redirect_to_what_may_not_be_asked_is_refused(shop: Shop, tmp_path: Path, onward: str, told: str) -> None:
    shop.redirect = lambda path: onward if path == "/download/1" else None
    with pytest.raises(BadInput, match=told):
        _get(shop, tmp_path / "a", "/download/1")


def test_a_name_that_leads_into_an_inner_network_is_refused_before_anything_is_said(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="inner network"):
        _get(shop, tmp_path / "a", may_be_private=False)
    assert shop.asked == []


@pytest.mark.parametrize(
    ("machine", "is_refused"),
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
def test_machines_of_inner_networks_are_known(machine: str, is_refused: bool) -> None:
    if not is_refused:
        Policy().check_machine(machine)
        return
    with pytest.raises(BadInput, match="inner network"):
        Policy().check_machine(machine)


def test_redirects_without_end_are_left(shop: Shop, tmp_path: Path) -> None:
    shop.redirect = lambda path: shop.url(path)
    with pytest.raises(StageFailed, match="on and on"):
        _get(shop, tmp_path / "a")


def test_a_certificate_that_nobody_vouches_for_is_not_believed(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="without a byte"):
        _get(shop, tmp_path / "a", certificate=None)
    assert shop.asked == []


def _fetch(url: str, certificate: str, target: Path) -> None:
    policy = Policy(hosts=frozenset({str(urlsplit(url).hostname)}), may_be_private=True, certificate=certificate)
    download(File(url, SHA256), target, policy)


def test_two_processes_fetch_it_once(shop: Shop, tmp_path: Path) -> None:
    shop.pause_s = 0.005
    context = multiprocessing.get_context("spawn")
    told = (shop.url("/model.safetensors"), str(shop.certificate), tmp_path / "a")
    both = [context.Process(target=_fetch, args=told) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(timeout=60)
    assert [process.exitcode for process in both] == [0, 0]
    assert len(shop.asked) == 1
    assert (tmp_path / "a").read_bytes() == CONTENT


def test_a_file_as_large_as_a_base_ends_whole_after_twenty_interruptions(shop: Shop, tmp_path: Path) -> None:
    """DOWNLOAD_TEST_BYTES=7000000000 runs it with the size of SDXL base 1.0; a part of the disk is needed twice."""
    size = int(os.environ.get("DOWNLOAD_TEST_BYTES", "60000000"))
    stored = tmp_path / "stored"
    with stored.open("wb") as file:
        file.truncate(size)
        for place in range(0, size, size // 50):
            file.seek(place)
            file.write(random.Random(place).randbytes(1000))
    with stored.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as whole:
        shop.stock["/large.safetensors"] = whole
        shop.cut = iter([size // 25] * 20)
        digest = hashlib.sha256(whole).hexdigest()
        assert _get(shop, tmp_path / "large.safetensors", "/large.safetensors", digest) == digest
        del shop.stock["/large.safetensors"]
    assert len(shop.asked) == 21
    assert (tmp_path / "large.safetensors").stat().st_size == size


def test_what_may_be_secret_in_an_address_is_not_told(shop: Shop, tmp_path: Path) -> None:
    address = shop.url("/model.safetensors?token=SECRET").replace(str(shop.port), "1")  # nobody listens there
    with pytest.raises(SourceFailed) as caught:
        download(File(address), tmp_path / "a", shop.policy(), sleep=lambda _: None)
    assert "cannot be reached" in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_a_page_in_place_of_a_file_is_refused(shop: Shop, tmp_path: Path) -> None:
    shop.kind = "text/html; charset=utf-8"
    with pytest.raises(BadInput, match="a page came in place of a file"):
        _get(shop, tmp_path / "a")
    assert _left(tmp_path) == set()


def test_a_file_is_asked_for_as_it_lies_there(shop: Shop, tmp_path: Path) -> None:
    _get(shop, tmp_path / "a")
    assert shop.asked[0].headers["accept-encoding"] == "identity"


def test_a_server_that_asks_for_a_day_s_patience_is_asked_before(shop: Shop, tmp_path: Path) -> None:
    shop.status, shop.patience, waited = iter([429]), "86400", list[float]()
    download(File(shop.url("/model.safetensors"), SHA256), tmp_path / "a", shop.policy(), sleep=waited.append)
    assert waited == [120]
