"""Hooks of mkdocs: pages beside the code become pages of the site, links to other files of the repository become paths."""

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mkdocs.structure.files import File

PAGES: Mapping[str, str] = MappingProxyType(
    {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "SECURITY.md": "security.md",
        "SOURCE_OF_TRUTH.md": "source-of-truth.md",
        "datasets/README.md": "datasets.md",
        "docker/README.md": "containers.md",
        "examples/README.md": "examples.md",
    }
)
"""File of the repository → page of the site."""
_ROOT = Path(__file__).resolve().parent.parent
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\((?![a-z]+:|#)([^)\s#]*)(#[^)]*)?\)")


def on_files(files: Any, config: Any) -> Any:
    """Add the pages."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(_ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Any) -> str:
    """Point links at pages of the site; a link to any other file of the repository becomes that file's path."""
    docs = posixpath.basename(config.docs_dir.rstrip("/"))
    own = page.file.src_uri
    folder = posixpath.dirname(_SOURCES.get(own, f"{docs}/{own}"))

    def rewrite(match: re.Match[str]) -> str:
        mark, text, link, anchor = match[1], match[2], match[3], match[4] or ""
        text = _LINK.sub(rewrite, text)
        target = posixpath.normpath(posixpath.join(folder, link)) if link else ""
        uri = PAGES.get(target, target.removeprefix(f"{docs}/"))
        is_on_site = files.get_file_from_path(uri) is not None and (target in PAGES or target.startswith(f"{docs}/"))
        if is_on_site or not (_ROOT / target).exists():
            return f"{mark}[{text}]({posixpath.relpath(uri, posixpath.dirname(own) or '.') if is_on_site else link}{anchor})"
        return text if posixpath.basename(target) in text else f"{text} (`{target}`)"

    return _LINK.sub(rewrite, markdown)
