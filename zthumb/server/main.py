"""Entry point 4: serve a base model and its adapters over HTTP."""

import argparse
import contextlib
import os
import re
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import SecretStr, ValidationError

from foundation.config import explain
from foundation.errors import DONE, BadInput, command
from foundation.offline import keep_quiet
from foundation.plugins import suggestion
from zthumb.server.settings import Settings, described, variables
from zthumb.sources.download import ProgressCallback
from zthumb.sources.progress import bars
from zthumb.sources.reference import shown

if TYPE_CHECKING:
    from fastapi import FastAPI

_OURS = "ZTHUMB_"
_LOGIN = re.compile(r"(https?://)[^\s/'\"]*@")

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
    with contextlib.ExitStack() as stack, _taken_port(settings) as listener:  # 2. before anything slow is loaded
        keep_quiet()
        watch = stack.enter_context(bars())
        app = _app(settings, watch)  # 3. what makes images: its base is fetched and loaded while it listens

        import uvicorn

        # The application itself hears what proxies say.
        config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_PATIENCE_S, proxy_headers=False)
        server = uvicorn.Server(config)
        address = f"http://{settings.host}:{listener.getsockname()[1]}"
        print(f"zthumb serves {shown(settings.model)} at {address}, once it is loaded: {address}/health/ready tells", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])  # 4. until told to stop
    return DONE


def _app(settings: Settings, watch: Callable[[str], ProgressCallback]) -> "FastAPI":
    from zthumb.server.app import create_app, resolver_of

    return create_app(settings, resolver_of(settings, watch))


def _settings(arguments: argparse.Namespace) -> Settings:
    _check_names(os.environ)
    given = {name: getattr(arguments, name) for name in ("host", "port", "model") if getattr(arguments, name) is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        told = "\n".join(f"settings: {line}" for line in explain(Settings, error))
        raise BadInput(_without_secrets(told, os.environ)) from None


def _without_secrets(told: str, environment: Mapping[str, str]) -> str:
    secret = [name for name, field in Settings.model_fields.items() if SecretStr.__name__ in str(field.annotation)]
    known = {variable.upper() for name in secret for variable in variables(name)}
    # Variables are read whether or not they are in capitals.
    for value in (value for name, value in environment.items() if name.upper() in known):
        told = told.replace(repr(value), "what is not shown")
    return _LOGIN.sub(r"\1…@", told)


def _check_names(environment: Mapping[str, str]) -> None:
    """Refuse a variable that is meant for this server and that it does not know."""
    known = {variable for name in Settings.model_fields for variable in variables(name)}
    for name in sorted(environment):
        if name.startswith(_OURS) and name not in known:
            raise BadInput(f"settings: the environment has {name}, which is no setting. {suggestion(name, sorted(known))}")


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
