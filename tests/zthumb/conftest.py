"""A shop that models are fetched from, open for one test; its certificate's authority is made once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from tests.zthumb.sources import own_hub
from tests.zthumb.sources.shop import Shop, opened


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="session")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("localhost", "127.0.0.1")


@pytest.fixture
def shop(tmp_path: Path, authority: trustme.CA, certificate: trustme.LeafCert) -> Iterator[Shop]:
    with opened(tmp_path, authority, certificate) as shop:
        yield shop


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[own_hub.TestHub]:
    for name in ("HF_TOKEN", "HUGGINGFACE_HUB_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with own_hub.opened() as hub:
        yield hub
