"""The documentation site builds without a warning, has the pages beside the code and the API; a broken link fails."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def _build(configuration: Path, site: Path) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mkdocs", "build", "--config-file", str(configuration), "--site-dir", str(site)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)


def test_the_site_builds_and_has_every_page(tmp_path: Path) -> None:
    result = _build(ROOT / "mkdocs.yml", tmp_path)

    assert result.returncode == 0, result.stderr
    assert "make finetune_z" in (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "zthumb.families.base.ModelFamily.predict" in (tmp_path / "reference/families/index.html").read_text(encoding="utf-8")
    assert (tmp_path / "datasets" / "index.html").is_file()
    # A file that is no page is named by its path.
    assert "<code>zthumb/sources/catalogue.yaml</code>" in (tmp_path / "models" / "index.html").read_text(encoding="utf-8")
    # Nothing is loaded from another host.
    assert "fonts.googleapis" not in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_a_broken_link_fails(tmp_path: Path) -> None:
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "start.md").write_text("# Start\n\n[gone](gone.md)\n")
    configuration = tmp_path / "mkdocs.yml"
    configuration.write_text(
        f"site_name: x\nstrict: true\ndocs_dir: {tmp_path / 'pages'}\nhooks: [{ROOT}/scripts/site_pages.py]\n"
    )

    result = _build(configuration, tmp_path / "site")

    assert result.returncode != 0
    assert "gone.md" in result.stderr
