"""Fake download servers that run for one test; their certificate authority is made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.zthumb.sources.fake_civitai import FakeCivitai, running_civitai
from tests.zthumb.sources.fake_hub import FakeHub, running_hub


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture
def fake_civitai(tmp_path: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> Iterator[FakeCivitai]:
    with running_civitai(tmp_path, authority, certificate) as server:
        yield server


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with running_hub() as server:
        yield server
