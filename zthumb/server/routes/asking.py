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


AskedJobs = Annotated[Jobs, Depends(_jobs)]
Asked = Annotated[Service, Depends(_service)]
