"""Request every sample that does not exist yet: several requests in flight, every response stored at once."""

import contextlib
import hashlib
import io
import queue
import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from evaluation.arrays import Pixels
from evaluation.collection.client import Client, GenerateResponse
from evaluation.protocol.plan import Plan, Protocol, RequestSpec, Sample
from evaluation.results import IMAGES, SAMPLES, SampleResult, read_samples, to_json_line, write_samples
from foundation.errors import BadInput, StageFailed
from foundation.files import atomic_file
from foundation.hashing import hash_value


class Collector:
    """Collects samples into ``folder``. A killed evaluation leaves that folder behind, and the next one resumes from it.

    ``paths``: adapter name → its path as the server takes it.
    """

    def __init__(self, client: Client, protocol: Protocol, paths: Mapping[str, str], folder: Path, in_flight: int) -> None:
        self._client, self._protocol, self._paths, self._folder, self._in_flight = client, protocol, paths, folder, in_flight

    def collect(self, plan: Plan) -> list[SampleResult]:
        """Return the result of every sample of ``plan``, in its order.

        A sample that fails is recorded instead of raising, and is requested again by the next evaluation.
        """
        done = {result.sample: result for result in read_samples(self._folder) if result.status == "ok"}
        if any(_unfinished(request_specs, done) for request_specs in plan.request_specs.values()):
            # The samples of the end phase show that no adapter stays applied, so they must come after all others of this
            # server too: those of an earlier run are generated again.
            done = {sample: result for sample, result in done.items() if sample.phase != "end"}
        with tqdm(total=len(plan.samples), initial=len(done), desc="evaluate", unit="image") as progress:
            for phase, request_specs in plan.request_specs.items():
                workers = self._in_flight if phase == "sweep" else 1
                for results in self._generate_all(_unfinished(request_specs, done), workers):
                    done |= {result.sample: result for result in results}
                    progress.update(len(results))
        results = [done[sample] for sample in plan.samples]
        write_samples(self._folder, results)
        return results

    def _generate_all(self, request_specs: Sequence[RequestSpec], workers: int) -> Iterator[list[SampleResult]]:
        """Yield the results of each request as its response arrives, after recording them.

        The worker threads do not outlive the process: if it is stopped it ends at once, and the server cancels requests that
        no client waits for.
        """
        pending: queue.SimpleQueue[RequestSpec] = queue.SimpleQueue()
        finished: queue.SimpleQueue[list[SampleResult] | BaseException] = queue.SimpleQueue()
        for request_spec in request_specs:
            pending.put(request_spec)

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    request_spec = pending.get_nowait()
                    try:
                        finished.put(self._generate(request_spec))
                    except BaseException as error:
                        finished.put(error)

        for _ in range(min(workers, len(request_specs))):
            threading.Thread(target=work, daemon=True).start()
        for _ in request_specs:
            results = finished.get()
            if isinstance(results, BaseException):
                raise results
            self._record(results)
            yield results

    def _generate(self, request_spec: RequestSpec) -> list[SampleResult]:
        try:
            response = self._client.generate(self._request_fields(request_spec))
        except (StageFailed, BadInput) as error:
            return [_failed_result(sample, str(error)) for sample in request_spec.samples]
        pairs = zip(request_spec.samples, response.images, strict=True)
        return [self._store(sample, image, response) for sample, image in pairs]

    def _request_fields(self, request_spec: RequestSpec) -> dict[str, Any]:
        settings = self._protocol.model_dump(
            include={"steps", "cfg", "negative_prompt", "width", "height", "scheduler", "variant"}, exclude_none=True
        )
        first = request_spec.first
        adapter_fields: dict[str, Any] = {"loras": []}
        if first.adapter is not None:
            adapter_fields = {"lora_path": self._paths[first.adapter], "lora_scale": first.lora_scale}
        # Isolated: the images are bit-identical whatever other requests the server gets meanwhile.
        request = {"prompt": first.prompt, "seed": first.seed, "batch": len(request_spec.samples), "isolated": True}
        return {**settings, **adapter_fields, **request}

    def _store(self, sample: Sample, data: bytes, response: GenerateResponse) -> SampleResult:
        try:
            pixels = decode_image(data)
        except OSError as error:
            return _failed_result(sample, f"the response is not an image: {error}")
        name = f"{IMAGES}/{image_file_name(sample)}"
        with atomic_file(self._folder / name) as temporary:
            temporary.write_bytes(data)
        return SampleResult(
            **asdict(sample),
            status="ok",
            image=name,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels_sha256=hashlib.sha256(pixels.tobytes()).hexdigest(),
            adapter_sha256=response.adapter_sha256,
            batch_size=response.batch_size,
        )

    def _record(self, results: Sequence[SampleResult]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / SAMPLES).open("a", encoding="utf-8") as file:
            file.writelines(to_json_line(result) for result in results)


def _failed_result(sample: Sample, error: str) -> SampleResult:
    return SampleResult(**asdict(sample), status="failed", error=error)


def decode_image(data: bytes) -> Pixels:
    """Return an encoded image as an RGB array (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def image_file_name(sample: Sample) -> str:
    """Return the file name of a sample's image; its digest distinguishes samples whose shortened names are equal."""
    digest = hash_value(asdict(sample))[:10]
    model = "base" if sample.adapter is None else f"{slug(sample.adapter, 30)}-scale-{sample.lora_scale:g}"
    phase = "" if sample.phase == "sweep" else f"-{sample.phase}"
    return f"{slug(sample.prompt, 60)}-seed-{sample.seed}-{model}{phase}-{digest}.png"


def slug(text: str, max_length: int) -> str:
    """Return ``text`` as part of a file name, at most ``max_length`` characters."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:max_length].rstrip("-.")


def _unfinished(request_specs: Sequence[RequestSpec], done: Mapping[Sample, SampleResult]) -> list[RequestSpec]:
    return [request_spec for request_spec in request_specs if any(sample not in done for sample in request_spec.samples)]
