"""FastAPI dependencies: the service and jobs of the app, and the prefix of the URLs in responses."""

from typing import Annotated

from fastapi import Depends, Request

from zthumb.server.queue.background_jobs import Jobs, NotFound
from zthumb.server.queue.event_log import EventLog
from zthumb.server.queue.job_listing import JobListing
from zthumb.server.runs.run_listing import RunListing
from zthumb.server.runs.training import Training
from zthumb.server.service import Service


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


def _jobs(request: Request) -> Jobs:
    jobs = request.app.state.jobs
    assert isinstance(jobs, Jobs)
    return jobs


def _job_listing(request: Request) -> JobListing:
    listing = request.app.state.job_listing
    assert isinstance(listing, JobListing)
    return listing


def _events(request: Request) -> EventLog:
    events = request.app.state.events
    assert isinstance(events, EventLog)
    return events


def _training(request: Request) -> Training:
    training = request.app.state.training
    if training is None:
        raise NotFound("training from here is off. Set ZTHUMB_TRAINING to the folder of a checkout of this project.")
    assert isinstance(training, Training)
    return training


def _run_listing(request: Request) -> RunListing:
    return _training(request).listing


def _root_path(request: Request) -> str:
    root_path: str = request.scope.get("root_path", "")
    return root_path.rstrip("/")


def _base_url(request: Request) -> str:
    return str(request.base_url).rstrip("/")


RootPath = Annotated[str, Depends(_root_path)]
"""The path under which a proxy serves this server, the prefix of its URL paths; empty without such a proxy."""

BaseUrl = Annotated[str, Depends(_base_url)]
"""The URL at which the client reached this server, without a trailing slash."""

JobsDep = Annotated[Jobs, Depends(_jobs)]
JobListingDep = Annotated[JobListing, Depends(_job_listing)]
EventsDep = Annotated[EventLog, Depends(_events)]
TrainingDep = Annotated[Training, Depends(_training)]
"""All that trains; raises ``NotFound`` where the settings do not allow it."""

RunListingDep = Annotated[RunListing, Depends(_run_listing)]
ServiceDep = Annotated[Service, Depends(_service)]
