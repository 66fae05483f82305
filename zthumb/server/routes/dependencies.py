"""How a route gets at the service of the app it belongs to."""

from typing import Annotated

from fastapi import Depends, Request

from zthumb.server.jobs import Jobs
from zthumb.server.service import Service


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def _jobs(request: Request) -> Jobs:
    jobs = request.app.state.jobs
    assert isinstance(jobs, Jobs)
    return jobs


def _root(request: Request) -> str:
    root: str = request.scope.get("root_path", "")
    return root.rstrip("/")


def _address(request: Request) -> str:
    return str(request.base_url).rstrip("/")


Root = Annotated[str, Depends(_root)]
"""The path that this server is served below, empty where there is none: what addresses of its own begin with."""

Address = Annotated[str, Depends(_address)]
"""The address that the client reached this server at, without an ending slash."""

JobsDep = Annotated[Jobs, Depends(_jobs)]
ServiceDep = Annotated[Service, Depends(_service)]
