import socket
from pathlib import Path

import pytest

from foundation.errors import BadInput
from zthumb import cli
from zthumb.server.main import main
from zthumb.server.settings import Settings, variables


def test_a_port_in_use_is_bad_input(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert main(["--port", str(listener.getsockname()[1])]) == 2
    assert "cannot listen on port" in capsys.readouterr().err


def test_the_error_of_a_missing_base_says_how_to_get_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--port", "0", "--model", str(tmp_path / "sdxl")]) == 2
    assert "download_models sdxl-base-1.0" in capsys.readouterr().err
    assert main(["--port", "0", "--model", str(tmp_path / "mini-sdxl")]) == 2
    assert "git checkout" in capsys.readouterr().err


def test_the_error_of_an_invalid_setting_names_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ZTHUMB_PORT", "eighty")
    assert main([]) == 2
    assert "PORT" in capsys.readouterr().err.upper()


def test_the_help_describes_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    help_text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert all(f"  {variable}" in help_text or f"or {variable}" in help_text for variable in variables(name)), name
    assert "(default: models/mini-sdxl)" in help_text
    assert "*****" not in help_text


@pytest.mark.parametrize(("arguments", "expected"), [([], False), (["--dummy"], True)])
def test_every_option_of_the_command_reaches_the_settings(
    arguments: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(settings: Settings, _: object) -> None:
        seen.append(settings)
        raise BadInput("far enough")

    monkeypatch.setattr("zthumb.server.main._app", stop)
    assert main(["--port", "0", "--model", "models/other", *arguments]) == 2
    assert [(settings.port, settings.model, settings.dummy) for settings in seen] == [(0, "models/other", expected)]
