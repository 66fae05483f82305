"""Models run on the device that is named, or on the fastest there is."""

import pytest
import torch

from foundation import device
from foundation.device import choose_device
from foundation.errors import BadInput


@pytest.fixture(autouse=True)
def no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(device.VARIABLE, raising=False)


def _available(monkeypatch: pytest.MonkeyPatch, *kinds: str) -> None:
    monkeypatch.setattr(device, "_is_available", lambda kind: kind in kinds)


@pytest.mark.parametrize(
    ("available", "expected"),
    [(("cpu",), "cpu"), (("mps", "cpu"), "mps"), (("xpu", "cpu"), "xpu"), (("cuda", "xpu", "cpu"), "cuda")],
)
def test_without_a_name_it_is_the_fastest(available: tuple[str, ...], expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _available(monkeypatch, *available)

    assert choose_device().type == expected


def test_the_variable_names_it_and_a_request_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _available(monkeypatch, "cuda", "mps", "cpu")
    monkeypatch.setenv("ZTHUMB_DEVICE", "mps")

    assert choose_device() == torch.device("mps")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("requested", "message"),
    [
        ("gpu", "device: 'gpu' is no device that is known here"),
        ("cuda", "device: 'cuda' is not available here; there are cpu"),
        ("cpu:x", "device: 'cpu:x' is no device; give an index as in cpu:0"),
        ("cpu:7", "cpu devices are numbered 0 to 0"),
    ],
)
def test_a_device_that_is_not_here_is_refused(requested: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _available(monkeypatch, "cpu")

    with pytest.raises(BadInput, match=message):
        choose_device(requested)


def test_a_wrong_variable_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZTHUMB_DEVICE", "tpu")

    with pytest.raises(BadInput, match="ZTHUMB_DEVICE: 'tpu' is no device"):
        choose_device()
