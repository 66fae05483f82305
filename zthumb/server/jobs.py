"""Jobs: requests that nobody waits for in line, kept in the store until somebody asks."""

import asyncio
import logging
import secrets
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from foundation.errors import BadInput, StageFailed
from zthumb.server.backend_pool import OutOfMemory
from zthumb.server.gallery import Gallery
from zthumb.server.generation_queue import Cancelled, GenerationResult, QueuedRequest, QueueFull, ShuttingDown
from zthumb.server.request_resolver import ResolvedRequest
from zthumb.server.schemas import GeneratedImage, GenerateRequest, GenerateResponse, JobImage, JobResponse
from zthumb.server.service import Service
from zthumb.server.store import OPEN, ImageRow, State, Store

_LOG = logging.getLogger("zthumb")
_SEEDS = 2**32
_LOOK_S = 0.1


class NotFound(Exception):
    """There is nothing of that id."""


class Jobs:
    """The jobs of one server. What was accepted is run or marked, whatever happens in between."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store, self.gallery = service, store, Gallery(store)
        self._queued: dict[str, QueuedRequest] = {}
        self._is_leaving = False
        # Before any request can add one.
        self._left = [row.id for row in store.open_jobs()]
        # Files and rows are written beside the generator, not by it.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    def resume(self) -> None:
        """Queue again what was accepted before the server was started."""
        for job in self._left:
            row = self._store.job(job)
            if row is None or row.state not in OPEN:  # stopped meanwhile
                continue
            try:
                request = GenerateRequest.model_validate(row.request)
                self._submit(job, self._service.resolved(request), is_accepted=True)
            except Exception as error:
                _LOG.warning("job %s cannot be taken up again", job, exc_info=error)
                self._store.end(job, "failed", self._service.public(f"after a restart of the server: {error}"))

    def add(self, request: GenerateRequest, root: str = "") -> JobResponse:
        """Accept a job; ``root`` is what addresses of this server begin with; ``BadInput`` or ``QueueFull`` if that cannot be."""
        if "response_format" in request.model_fields_set and request.response_format != "url":
            raise BadInput(
                f"response_format: {request.response_format} is for POST /generate; a job tells the url of each image."
            )
        # Drawn now, so that a job that is run again after a crash is the same.
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        request = request.model_copy(update={"seed": seed})
        resolved, job = self._service.resolved(request), uuid.uuid4().hex
        # Kept before it is queued: what a client was told of is never lost.
        self._store.add(job, request.model_dump(mode="json"))
        try:
            self._submit(job, resolved)
        except (QueueFull, ShuttingDown) as error:
            self._store.end(job, "failed", str(error))
            raise
        return self.look(job, root)

    def keep(
        self, request: GenerateRequest, resolved: ResolvedRequest, result: GenerationResult, root: str = ""
    ) -> GenerateResponse:
        """Keep what somebody waited for, as a job that is done, and answer where it is, at addresses below ``root``."""
        job = uuid.uuid4().hex
        self._store.add(job, request.model_copy(update={"seed": resolved.params[0].seed}).model_dump(mode="json"))
        try:
            rows = self._keep(job, resolved, result)
        except BaseException:
            # Left open it would be generated again, for nobody, when the server starts anew.
            self._store.end(job, "failed", "its images could not be kept")
            raise
        by_path = request.response_format == "path"
        images = [
            GeneratedImage(
                seed=int(row.seed),
                url=None if by_path else f"{root}/images/{row.id}",
                path=str(self.gallery.path(row.id)) if by_path else None,
            )
            for row in rows
        ]
        return GenerateResponse(
            images=images, meta=self._service.meta(resolved, result), warnings=self._service.warnings(resolved, result)
        )

    def look(self, job: str, root: str = "") -> JobResponse:
        """How a job is, its images at addresses below ``root``; ``NotFound`` when there is none of that id."""
        # The request first: it goes only after the row has changed.
        queued, queue = self._queued.get(job), self._service.queue
        row = self._store.job(job)
        if row is None:
            raise NotFound(f"no job {job!r} is known here.")
        state: State = row.state  # type: ignore[assignment]
        if state in OPEN and queued is not None and queued.began is not None:
            state = "running"
        waits = queued if state in OPEN else None
        return JobResponse(
            id=job,
            state=state,
            position=queue.position(waits) if waits and queue else None,
            preview=_data_url(self._service.preview(waits)) if waits else None,
            progress=1.0 if state == "done" else waits.progress if waits else 0.0,
            eta_s=round(queue.seconds_left(waits), 2) if waits and queue else None,
            images=[
                JobImage(id=each.id, seed=int(each.seed), url=f"{root}/images/{each.id}") for each in self._store.images(job)
            ],
            meta=row.meta,
            warnings=row.warnings or [],
            error=row.error,
        )

    def cancel(self, job: str, root: str = "") -> JobResponse:
        """Stop a job before it begins or at its next step; one that has ended stays as it is."""
        if self.look(job).state in OPEN:
            # Kept at once: what was stopped is not run again should the server die now.
            self._store.end(job, "cancelled")
            if queued := self._queued.get(job):
                queued.cancel()
        return self.look(job, root)

    async def events(self, job: str, root: str = "") -> AsyncIterator[JobResponse]:
        """How a job is, whenever that changes, until it or the server has ended."""
        before = None
        while True:
            now = await asyncio.to_thread(self.look, job, root)
            seen = (now.state, now.position, round(now.progress, 3))
            if seen != before:
                before = seen
                yield now
            if now.state not in OPEN or self._is_leaving:
                return
            await asyncio.sleep(_LOOK_S)

    def drain(self) -> None:
        """Let what has not begun wait for the next start of the server, and nobody follow it any more."""
        self._is_leaving = True
        for queued in list(self._queued.values()):
            if queued.began is None:
                queued.cancel()

    def close(self) -> None:
        """Write what there still is to write."""
        self._writer.shutdown(wait=True)

    def _submit(self, job: str, resolved: ResolvedRequest, is_accepted: bool = False) -> None:
        assert self._service.queue is not None
        queued = self._service.queue.submit(resolved, is_accepted)
        self._queued[job] = queued
        # Without the request in it: a callback that held it would hold its images.
        queued.done.add_done_callback(lambda _: self._writer.submit(self._end, job, resolved))

    def _end(self, job: str, resolved: ResolvedRequest) -> None:
        """Keep what came of a job."""
        queued = self._queued[job]
        try:
            result = queued.done.result()
            if not queued.is_cancelled:
                self._keep(job, resolved, result)
        except Cancelled:
            # By its owner's wish, which is kept already, or because the server ends: then it is run when that starts again.
            pass
        except (BadInput, StageFailed, OutOfMemory) as error:
            self._store.end(job, "failed", self._service.public(str(error)))
        except Exception as error:
            # Also where it cannot be written: then it is still open, and run when the server starts again.
            _LOG.error("job %s failed", job, exc_info=error)
            self._store.end(job, "failed", "an error of the server; its log says which")
        finally:
            self._queued.pop(job, None)

    def _keep(self, job: str, resolved: ResolvedRequest, result: GenerationResult) -> list[ImageRow]:
        meta = self._service.meta(resolved, result)
        pairs = zip(resolved.params, result.images, strict=True)
        params = [(image, params.seed, self._service.parameters(resolved, params, meta)) for params, image in pairs]
        rows = self.gallery.write(job, params, resolved.output_format)
        self._store.finish(job, meta.model_dump(mode="json"), self._service.warnings(resolved, result), rows)
        return rows


def _data_url(png: str | None) -> str | None:
    return None if png is None else f"data:image/png;base64,{png}"
