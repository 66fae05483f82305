"""Look for what keeps this program from working here: Python, torch and the card, memory, disk, models, versions, ports."""

from __future__ import annotations

import argparse
import socket
from typing import TYPE_CHECKING

from foundation.errors import DONE, FAILED

if TYPE_CHECKING:
    from zthumb.server.findings import Finding
    from zthumb.server.settings import Settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``zthumb doctor``."""
    parser.add_argument("--port", type=int, help="the port to look at (ZTHUMB_PORT, default 8000)")


def run(arguments: argparse.Namespace) -> int:
    """Print every finding; exit code 1 if anything is wrong, 2 for a wrong setting."""
    from zthumb.server.findings import findings
    from zthumb.server.read_settings import read_settings

    settings, found = read_settings(), []
    for finding in findings(settings):
        print(finding.line, flush=True)
        found.append(finding)
    found.append(_port(settings, arguments.port))
    print(found[-1].line)
    wrong = [finding for finding in found if finding.level == "wrong"]
    print(f"\n{len(wrong)} of {len(found)} findings are wrong" if wrong else "\nnothing is wrong")
    return FAILED if wrong else DONE


def _port(settings: Settings, port: int | None) -> Finding:
    from zthumb.server.findings import Finding

    number = settings.port if port is None else port
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, number))
        except OSError as error:
            what = f"port {number} of {settings.host}: {error.strerror}"
            return Finding("note", what, "A server is there already, or name another with --port.")
    return Finding("ok", f"port {number} of {settings.host} is free")
