"""Entry point 4: serve a base model and its adapters over HTTP."""

import argparse
import contextlib
import socket
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from foundation.config import explain
from foundation.errors import DONE, BadInput, command
from foundation.offline import stay_offline
from zthumb.server.settings import Settings, described

_PATIENCE_S = 60
"""How long open connections may take to end when the server is told to."""

DESCRIPTION = (
    "Serve a base model and its adapters: POST /generate, GET /models, GET /health/ready; the API is described at /docs."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the server; what is not given comes from the environment, which the help describes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"settings, all of them environment variables:\n{described()}"
    parser.add_argument("--host", help="address to listen on (ZTHUMB_HOST, default 127.0.0.1)")
    parser.add_argument("--port", type=int, help="port to listen on, 0 for a free one (ZTHUMB_PORT, default 8000)")
    parser.add_argument("--model", help="base model (MODEL, default models/mini-sdxl)")


@command
def main(argv: Sequence[str] | None = None) -> int:
    """Serve until interrupted; exit code 0 done, 1 failed, 2 bad input."""
    parser = argparse.ArgumentParser(prog="zthumb serve", description=DESCRIPTION)
    add_arguments(parser)
    return serve(parser.parse_args(argv))


def serve(arguments: argparse.Namespace) -> int:
    """Check the settings, take the port, load the base, serve."""
    settings = _settings(arguments)  # 1. what to serve, where
    stay_offline()  # 2. nothing is fetched behind anyone's back
    with _taken_port(settings) as listener:  # 3. before anything slow is loaded
        import uvicorn

        from zthumb.server.app import create_app

        server = uvicorn.Server(uvicorn.Config(create_app(settings), log_level="warning", timeout_graceful_shutdown=_PATIENCE_S))
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        print(f"zthumb serves {settings.model} at {address}, once it is loaded: {address}/health/ready tells", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])  # 4. until told to stop
    return DONE


def _settings(arguments: argparse.Namespace) -> Settings:
    given = {name: getattr(arguments, name) for name in ("host", "port", "model") if getattr(arguments, name) is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise BadInput("\n".join(f"settings: {line}" for line in explain(Settings, error))) from None


def _taken_port(settings: Settings) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise BadInput(
            f"port {settings.port} at {settings.host} cannot be taken: {error.strerror}. Choose another with --port."
        ) from None
    return listener


if __name__ == "__main__":
    sys.exit(main())
