"""Asking the server for every sample that is not there yet: several requests in flight, every answer kept at once."""

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

from evaluation.client import Client
from evaluation.extractors.base import Pixels
from evaluation.protocol import Plan, Protocol, RequestSpec, Sample
from evaluation.results import IMAGES, SAMPLES, SampleResult, line, read_samples, write_samples
from foundation.errors import BadInput, StageFailed
from foundation.files import atomic_file
from foundation.hashing import hash_value


class Collector:
    """Collects into ``folder``, which a killed evaluation leaves behind and the next one goes on from.

    ``paths``: an adapter's name → its path as the server takes it.
    """

    def __init__(self, client: Client, protocol: Protocol, paths: Mapping[str, str], folder: Path, in_flight: int) -> None:
        self._client, self._protocol, self._paths, self._folder, self._in_flight = client, protocol, paths, folder, in_flight

    def collect(self, plan: Plan) -> list[SampleResult]:
        """Every sample of ``plan``, in its order. One that fails is a record and no exit, and is asked for again next time."""
        done = {result.sample: result for result in read_samples(self._folder) if result.status == "ok"}
        if any(_missing(asks, done) for asks in plan.asks.values()):
            # What shows that nothing has stuck must come after everything else, of this server too.
            done = {sample: result for sample, result in done.items() if sample.phase != "end"}
        with tqdm(total=len(plan.samples), initial=len(done), desc="evaluate", unit="image") as bar:
            for phase, asks in plan.asks.items():
                workers = self._in_flight if phase == "sweep" else 1
                for results in self._asked(_missing(asks, done), workers):
                    done |= {result.sample: result for result in results}
                    bar.update(len(results))
        found = [done[sample] for sample in plan.samples]
        write_samples(self._folder, found)
        return found

    def _asked(self, asks: Sequence[RequestSpec], workers: int) -> Iterator[list[SampleResult]]:
        """What was answered to each of ``asks``, as it comes, each recorded.

        The threads that wait for answers do not outlive the process: one that is told to stop ends at once, and a server gives up
        what nobody waits for any more.
        """
        waiting: queue.SimpleQueue[RequestSpec] = queue.SimpleQueue()
        answered: queue.SimpleQueue[list[SampleResult] | BaseException] = queue.SimpleQueue()
        for ask in asks:
            waiting.put(ask)

        def work() -> None:
            with contextlib.suppress(queue.Empty):
                while True:
                    ask = waiting.get_nowait()
                    try:
                        answered.put(self._one(ask))
                    except BaseException as error:
                        answered.put(error)

        for _ in range(min(workers, len(asks))):
            threading.Thread(target=work, daemon=True).start()
        for _ in asks:
            results = answered.get()
            if isinstance(results, BaseException):
                raise results
            self._record(results)
            yield results

    def _one(self, ask: RequestSpec) -> list[SampleResult]:
        try:
            answer = self._client.generate(self._request(ask))
        except (StageFailed, BadInput) as error:
            return [_failed(sample, str(error)) for sample in ask.samples]
        pairs = zip(ask.samples, answer.images, strict=True)
        return [self._kept(sample, image, answer.adapter_sha256, answer.together) for sample, image in pairs]

    def _request(self, ask: RequestSpec) -> dict[str, Any]:
        how = self._protocol.model_dump(
            include={"steps", "cfg", "negative_prompt", "width", "height", "scheduler", "variant"}, exclude_none=True
        )
        under: dict[str, Any] = {"loras": []}
        if ask.first.adapter is not None:
            under = {"lora_path": self._paths[ask.first.adapter], "lora_scale": ask.first.lora_scale}
        # To the last bit, whatever else the server is asked for meanwhile.
        return {**how, **under, "prompt": ask.first.prompt, "seed": ask.first.seed, "batch": len(ask.samples), "isolated": True}

    def _kept(self, sample: Sample, data: bytes, adapter_sha256: str | None, together: int) -> SampleResult:
        try:
            shown = pixels(data)
        except OSError as error:
            return _failed(sample, f"what was answered is no image: {error}")
        name = f"{IMAGES}/{file_name(sample)}"
        with atomic_file(self._folder / name) as temporary:
            temporary.write_bytes(data)
        return SampleResult(
            **asdict(sample),
            status="ok",
            image=name,
            sha256=hashlib.sha256(data).hexdigest(),
            pixels_sha256=hashlib.sha256(shown.tobytes()).hexdigest(),
            adapter_sha256=adapter_sha256,
            together=together,
        )

    def _record(self, results: Sequence[SampleResult]) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / SAMPLES).open("a", encoding="utf-8") as file:
            file.writelines(line(result) for result in results)


def _failed(sample: Sample, error: str) -> SampleResult:
    return SampleResult(**asdict(sample), status="failed", error=error)


def pixels(data: bytes) -> Pixels:
    """An image file as an array (height, width, 3)."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def file_name(sample: Sample) -> str:
    """What the image of ``sample`` is called; the mark tells apart what is alike in its first letters."""
    mark = hash_value(asdict(sample))[:10]
    under = "base" if sample.adapter is None else f"{slug(sample.adapter, 30)}-scale-{sample.lora_scale:g}"
    when = "" if sample.phase == "sweep" else f"-{sample.phase}"
    return f"{slug(sample.prompt, 60)}-seed-{sample.seed}-{under}{when}-{mark}.png"


def slug(text: str, most: int) -> str:
    """Text as part of a file's name, of at the ``most`` so many characters."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")[:most].rstrip("-.")


def _missing(asks: Sequence[RequestSpec], done: Mapping[Sample, SampleResult]) -> list[RequestSpec]:
    return [ask for ask in asks if any(sample not in done for sample in ask.samples)]
