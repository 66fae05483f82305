"""Entry point 4: serve a base model and its adapters over HTTP."""

import argparse
import contextlib
import socket
import sys
from collections.abc import Callable, Sequence
from types import FrameType
from typing import TYPE_CHECKING

from foundation.errors import DONE, BadInput, command
from foundation.offline import keep_quiet
from zthumb.server.read_settings import read_settings
from zthumb.server.settings import Settings, describe_settings
from zthumb.sources.download import ProgressCallback
from zthumb.sources.progress import bars
from zthumb.sources.reference import shown

if TYPE_CHECKING:
    from fastapi import FastAPI

_SHUTDOWN_TIMEOUT_S = 60
"""How long open connections may take to finish at shutdown."""

DESCRIPTION = (
    "Serve a base model and its adapters: POST /generate, GET /models, GET /health/ready; the API is described at /docs."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the server; what is not given comes from the environment, which the help describes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"all settings are environment variables:\n{describe_settings()}"
    parser.add_argument("--host", help="address to listen on (ZTHUMB_HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (ZTHUMB_PORT, default 8000)")
    parser.add_argument("--model", help="base model (MODEL, default models/mini-sdxl)")
    parser.add_argument("--dummy", action="store_true", default=None, help="random weights of the base's shapes (DUMMY=1)")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; exit code 0 done, 1 failed, 2 bad input."""
    parser = argparse.ArgumentParser(prog="zthumb serve", description=DESCRIPTION)
    add_arguments(parser)
    return serve(parser.parse_args(argv))


def serve(arguments: argparse.Namespace) -> int:
    """Check the settings, bind the port, load the base, serve."""
    options = {name: getattr(arguments, name) for name in ("host", "port", "model", "dummy")}
    settings = read_settings(**options)  # 1. read and check the settings
    with contextlib.ExitStack() as stack, _listen(settings) as listener:  # 2. bind the port before anything slow is loaded
        keep_quiet()
        progress = stack.enter_context(bars())
        app = _app(settings, progress)  # 3. create the app: it downloads and loads its base while it already listens

        import uvicorn

        class Server(uvicorn.Server):
            """Ends the streams of events first: they would keep the server from shutting down until they are cut off."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                app.state.end_streams()
                super().handle_exit(sig, frame)

        # Proxy headers are left to the app's own middleware.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT_S, proxy_headers=False)
        server = Server(config)
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        print(f"zthumb serves {shown(settings.model)} at {address}; {address}/health/ready says when it is loaded", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])  # 4. serve until interrupted
    return DONE


def _app(settings: Settings, progress: Callable[[str], ProgressCallback]) -> "FastAPI":
    from zthumb.server.app import create_app
    from zthumb.server.engine import make_resolver

    return create_app(settings, make_resolver(settings, progress))


def _listen(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BadInput(
            f"cannot listen on port {settings.port} of {settings.host}: {error.strerror}. Choose another port with --port."
        ) from None
    return listener


if __name__ == "__main__":
    sys.exit(main())
