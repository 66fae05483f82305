"""Jobs: requests that are generated without a waiting client; their results are kept in the store."""

import asyncio
import base64
import logging
import secrets
import uuid
from collections import deque
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from foundation.errors import BadInput, StageFailed
from zthumb.server.api.schemas import GeneratedImage, GenerateRequest, GenerateResponse, JobImage, JobResponse
from zthumb.server.queue.generation_queue import Cancelled, GenerationResult, QueuedRequest, QueueFull, ShuttingDown
from zthumb.server.request_resolver import ResolvedRequest
from zthumb.server.service import Service
from zthumb.server.storage.gallery import Gallery
from zthumb.server.storage.rows import ImageRow
from zthumb.server.storage.store import OPEN_STATES, State, Store

_LOG = logging.getLogger("zthumb")
_SEED_COUNT = 2**32
_POLL_S = 0.1
_ENDED = 1000
"""Jobs that ended and nobody was told of yet."""


class NotFound(Exception):
    """There is no job or image with that id."""


class Jobs:
    """The jobs of one server. An accepted job is either run or marked as failed or cancelled, also across restarts."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store, self.gallery = service, store, Gallery(store)
        self._queued: dict[str, QueuedRequest] = {}
        self.ended: deque[str] = deque(maxlen=_ENDED)
        self._is_draining = False
        # Read before any request can add a job.
        self._unfinished = [row.id for row in store.open_jobs()]
        # Files and rows are written in their own thread, so that the generator thread does not wait for the disk.
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="writer")

    def resume(self) -> None:
        """Queue again the jobs that were accepted before the server was started."""
        for job_id in self._unfinished:
            row = self._store.get_job(job_id)
            if row is None or row.state not in OPEN_STATES:  # cancelled meanwhile
                continue
            try:
                request = GenerateRequest.model_validate(row.request)
                self._submit(job_id, self._service.resolve(request), is_accepted=True)
            except Exception as error:
                _LOG.warning("job %s cannot be resumed", job_id, exc_info=error)
                message = self._service.without_local_paths(f"after a restart of the server: {error}")
                self._store.end_job(job_id, "failed", message)

    def add(self, request: GenerateRequest, url_prefix: str = "") -> JobResponse:
        """Accept a job. Image URLs begin with ``url_prefix``. Raises ``BadInput`` or ``QueueFull`` if it cannot be accepted."""
        if "response_format" in request.model_fields_set and request.response_format != "url":
            raise BadInput(
                f"response_format: {request.response_format} is for POST /generate; a job returns the url of each image."
            )
        # The seed is drawn now, so that a job that runs again after a crash gives the same images.
        seed = secrets.randbelow(_SEED_COUNT) if request.seed is None else request.seed
        request = request.model_copy(update={"seed": seed})
        resolved, job_id = self._service.resolve(request), uuid.uuid4().hex
        # Stored before it is queued: a job whose id the client knows is never lost.
        self._store.add_job(job_id, request.model_dump(mode="json"))
        try:
            self._submit(job_id, resolved)
        except (QueueFull, ShuttingDown) as error:
            self._store.end_job(job_id, "failed", str(error))
            raise
        return self.get(job_id, url_prefix)

    def save_result(
        self, request: GenerateRequest, resolved: ResolvedRequest, result: GenerationResult, url_prefix: str = ""
    ) -> GenerateResponse:
        """Save the images of a request that a client waited for, as a finished job; return their URLs or paths.

        URLs begin with ``url_prefix``.
        """
        job_id = uuid.uuid4().hex
        self._store.add_job(job_id, request.model_copy(update={"seed": resolved.params[0].seed}).model_dump(mode="json"))
        try:
            rows = self._store_result(job_id, resolved, result)
        except BaseException:
            # An open job would be generated again, for nobody, at the next start of the server.
            self._store.end_job(job_id, "failed", "its images could not be saved")
            raise
        finally:
            self.ended.append(job_id)
        by_path = request.response_format == "path"
        images = [
            GeneratedImage(
                seed=int(row.seed),
                url=None if by_path else f"{url_prefix}/images/{row.id}",
                path=str(self.gallery.path(row.id)) if by_path else None,
            )
            for row in rows
        ]
        return GenerateResponse(
            images=images, meta=self._service.meta(resolved, result), warnings=self._service.warnings(resolved, result)
        )

    def get(self, job_id: str, url_prefix: str = "") -> JobResponse:
        """Return the status of a job, its image URLs beginning with ``url_prefix``; ``NotFound`` if there is no such job."""
        # The queued request is read first: it is removed only after the row has changed.
        queued, queue = self._queued.get(job_id), self._service.queue
        row = self._store.get_job(job_id)
        if row is None:
            raise NotFound(f"there is no job {job_id!r}.")
        state: State = row.state  # type: ignore[assignment]
        if state in OPEN_STATES and queued is not None and queued.started_at is not None:
            state = "running"
        open_request = queued if state in OPEN_STATES else None
        return JobResponse(
            id=job_id,
            state=state,
            position=queue.position(open_request) if open_request and queue else None,
            preview=_data_url(self._service.preview(open_request)) if open_request else None,
            progress=1.0 if state == "done" else open_request.progress if open_request else 0.0,
            eta_s=round(queue.seconds_left(open_request), 2) if open_request and queue else None,
            images=[
                JobImage(id=image.id, seed=int(image.seed), url=f"{url_prefix}/images/{image.id}")
                for image in self._store.get_images(job_id)
            ],
            meta=row.meta,
            warnings=row.warnings or [],
            error=row.error,
        )

    def open_requests(self) -> dict[str, QueuedRequest]:
        """Return the jobs that are queued or being generated."""
        return dict(self._queued)

    def preview(self, job_id: str) -> bytes | None:
        """Return a small preview of a job's first image, a PNG; None if it has none yet or any more."""
        queued = self._queued.get(job_id)
        encoded = self._service.preview(queued) if queued else None
        return None if encoded is None else base64.b64decode(encoded)

    def cancel(self, job_id: str, url_prefix: str = "") -> JobResponse:
        """Cancel a job before it starts or at its next step; a job that has ended stays as it is."""
        if self.get(job_id).state in OPEN_STATES:
            # Stored at once: a cancelled job must not run again if the server is killed now.
            self._store.end_job(job_id, "cancelled")
            if queued := self._queued.get(job_id):
                queued.cancel()
            self.ended.append(job_id)
        return self.get(job_id, url_prefix)

    async def events(self, job_id: str, url_prefix: str = "") -> AsyncIterator[JobResponse]:
        """Yield the status of a job whenever it changes, until the job has ended or the server shuts down."""
        last_snapshot = None
        while True:
            status = await asyncio.to_thread(self.get, job_id, url_prefix)
            snapshot = (status.state, status.position, round(status.progress, 3))
            if snapshot != last_snapshot:
                last_snapshot = snapshot
                yield status
            if status.state not in OPEN_STATES or self._is_draining:
                return
            await asyncio.sleep(_POLL_S)

    def drain(self) -> None:
        """Leave the jobs that have not started to the next start of the server, and end all event streams."""
        self._is_draining = True
        for queued in list(self._queued.values()):
            if queued.started_at is None:
                queued.cancel()

    def close(self) -> None:
        """Wait until everything is written."""
        self._writer.shutdown(wait=True)

    def _submit(self, job_id: str, resolved: ResolvedRequest, is_accepted: bool = False) -> None:
        assert self._service.queue is not None
        queued = self._service.queue.submit(resolved, is_accepted)
        self._queued[job_id] = queued
        # The callback does not refer to the queued request, which would keep its images in memory.
        queued.future.add_done_callback(lambda _: self._writer.submit(self._finish, job_id, resolved))

    def _finish(self, job_id: str, resolved: ResolvedRequest) -> None:
        """Store the outcome of a job."""
        queued = self._queued[job_id]
        try:
            result = queued.future.result()
            if not queued.is_cancelled:
                self._store_result(job_id, resolved, result)
        except Cancelled:
            # Cancelled by the client, which is stored already, or by a shutdown: then it runs at the server's next start.
            pass
        except (BadInput, StageFailed) as error:
            self._store.end_job(job_id, "failed", self._service.without_local_paths(str(error)))
        except Exception as error:
            # If this cannot be written either, the job is still open and runs at the server's next start.
            _LOG.error("job %s failed", job_id, exc_info=error)
            self._store.end_job(job_id, "failed", "internal server error; see the server's log")
        finally:
            self._queued.pop(job_id, None)
            self.ended.append(job_id)

    def _store_result(self, job_id: str, resolved: ResolvedRequest, result: GenerationResult) -> list[ImageRow]:
        meta = self._service.meta(resolved, result)
        pairs = zip(resolved.params, result.images, strict=True)
        images = [(image, params.seed, self._service.parameters(resolved, params, meta)) for params, image in pairs]
        rows = self.gallery.write(job_id, images, resolved.output_format)
        self._store.finish_job(job_id, meta.model_dump(mode="json"), self._service.warnings(resolved, result), rows)
        return rows


def _data_url(png: str | None) -> str | None:
    return None if png is None else f"data:image/png;base64,{png}"
