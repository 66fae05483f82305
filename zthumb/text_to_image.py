"""Generate images in a program's own process: the engine and queue of the server, without the server."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import BaseModel, ValidationError

from foundation.config import explain
from foundation.errors import BadInput
from foundation.files import atomic_file
from zthumb.memory.budget import shown
from zthumb.server.adapter_registry import HASH_PREFIX
from zthumb.server.api.schemas import MAX_BATCH, GenerateRequest, LoraRequest
from zthumb.server.engine import Engine, make_resolver
from zthumb.server.queue.generation_queue import GenerationQueue, QueuedRequest
from zthumb.server.read_settings import read_settings

if TYPE_CHECKING:
    from PIL import Image

    from zthumb.server.request_resolver import ResolvedRequest
    from zthumb.sources.download import ProgressCallback

_POLL_S = 0.1
_CLOSE_S = 10
_Request = TypeVar("_Request", bound=BaseModel)


@dataclass(frozen=True)
class OutputImage:
    """An ``image``, what it was generated from, and the bytes of its file, whose metadata are the ``parameters``.

    At ``unguided_steps`` of its steps its guidance schedule left it unguided.
    """

    image: Image.Image
    parameters: Mapping[str, Any]
    data: bytes
    suffix: str
    unguided_steps: int = 0

    @property
    def seed(self) -> int:
        """The seed that generates it again."""
        seed: int = self.parameters["seed"]
        return seed

    def save(self, path: Path | str) -> None:
        """Write the file, whose parameters any viewer of A1111's format reads, and ``zthumb generate --from-image``."""
        with atomic_file(Path(path)) as temporary:
            temporary.write_bytes(self.data)


class TextToImage:
    """A base model that generates images, loaded with the first of them.

    The same parameters give the same bytes as from a server with the same settings. As a context manager it frees the model's
    memory at the end::

        with TextToImage("models/mini-sdxl") as model:
            model.load_lora_weights("models/lora/demo", scale=0.8)
            model.save_images(model.generate("a photo of a red zbadge", seed=7), "outputs/images")
    """

    def __init__(
        self,
        model: str | None = None,
        *,
        on_download: Callable[[str], ProgressCallback] = lambda _: lambda _, __: None,
        **settings: Any,
    ) -> None:
        """Check the base, which is a folder, a file, ``owner/name`` of the hub, an address, or a name of the catalogue.

        ``settings`` are those of the server by their names in lower case, as ``device="cuda"`` or ``precision="bf16"``; what is
        not given comes from the environment. ``on_download`` makes a progress callback for each file that is downloaded. Raises
        ``BadInput`` for a setting that is wrong, and if there is no such base.
        """
        self.settings = read_settings(model=model, **settings)
        self.engine = Engine(self.settings, make_resolver(self.settings, on_download), is_confined=False)
        # None: the adapter of the settings, if they name one.
        self._loras: list[LoraRequest] | None = None
        self._queue: GenerationQueue | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unload()

    def load_lora_weights(self, lora: str | Path, scale: float | None = None) -> None:
        """Generate with an adapter from now on, besides those loaded before; 0 is the base, 1 the adapter as trained.

        ``lora`` is a file or folder, an id in ``models/lora``, ``sha256:`` and digits of a file's hash, or a reference to a
        download. The default of ``scale`` is the setting ``lora_scale``. Raises ``BadInput`` if there is no such adapter.
        """
        loaded = _parsed(LoraRequest, {**self._name(str(lora)), "weight": scale})
        self._loras = [*(self._loras or []), loaded]

    def unload_lora_weights(self) -> None:
        """Generate without adapters from now on, that of the settings included."""
        self._loras = []

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        negative_prompt: str | None = None,
        width: int | None = None,
        height: int | None = None,
        steps: int | None = None,
        cfg: float | None = None,
        true_cfg_scale: float | None = None,
        guidance_schedule: str | None = None,
        embedded_guidance_schedule: str | None = None,
        step_cache: int | None = None,
        seed: int | None = None,
        num: int = 1,
        scheduler: str | None = None,
        variant: str | None = None,
        preset: str | None = None,
        prompt_parser: str | None = None,
        output_format: str | None = None,
        on_progress: Callable[[float], None] = lambda _: None,
        on_image: Callable[[OutputImage], None] = lambda _: None,
    ) -> list[OutputImage]:
        """Return ``num`` images of each prompt, with seeds that count up from ``seed``; without it, seeds are drawn.

        ``width`` and ``height`` are in pixels; what is not given is the base's own. ``on_progress`` is called with the share that
        is done, 0 to 1, ``on_image`` with each image as soon as it is there. Raises ``BadInput`` for what the base cannot do,
        ``StageFailed`` if memory runs out; a ``UserWarning`` says what is otherwise than requested.
        """
        fields: dict[str, Any] = {
            "negative_prompt": negative_prompt,
            "width": width,
            "height": height,
            "steps": steps,
            "cfg": cfg,
            "true_cfg_scale": true_cfg_scale,
            "guidance_schedule": guidance_schedule,
            "embedded_guidance_schedule": embedded_guidance_schedule,
            "step_cache": step_cache,
            "scheduler": scheduler,
            "variant": variant,
            "preset": preset,
            "prompt_parser": prompt_parser,
            "output_format": output_format,
            "loras": self._loras,
        }
        if num < 1:
            raise BadInput(f"num: {num} images are none; give 1 or more.")
        requests = [
            _parsed(
                GenerateRequest, {**_given(fields), "prompt": prompt, "batch": min(MAX_BATCH, num - start), **_seed(seed, start)}
            )
            for prompt in ([prompts] if isinstance(prompts, str) else prompts)
            for start in range(0, num, MAX_BATCH)
        ]
        # All are checked before the first is generated.
        return self._generate([self.engine.resolve(request) for request in requests], on_progress, on_image)

    def predicted_memory(self, prompt: str, num: int = 1, **fields: Any) -> str:
        """Return in words how ``num`` images with these fields of ``generate`` would be generated, and the predicted peak.

        Nothing is loaded. Raises ``BadInput`` for what cannot be generated within the memory budget.
        """
        resolved, pool = self.engine.resolve(_parsed(GenerateRequest, {**_given(fields), "prompt": prompt})), self.engine.pool
        count = pool.largest_batch(resolved.backend_key, resolved.params[0], num)
        plan = pool.predict(resolved.backend_key, resolved.params[0], count)
        main_memory = f", and {shown(plan.main_memory)} of main memory" if plan.main_memory else ""
        return f"{resolved.backend_key.variant}: {plan.words}; {count} at once, {shown(plan.peak)} at the most{main_memory}"

    @staticmethod
    def save_images(images: Iterable[OutputImage], folder: Path | str) -> list[Path]:
        """Write each image to ``folder`` under a name of its time and seed, and return the paths."""
        paths = []
        for image in images:
            path = _free_path(Path(folder), f"{time.strftime('%Y%m%d-%H%M%S')}-seed-{image.seed}", image.suffix)
            image.save(path)
            paths.append(path)
        return paths

    def unload(self) -> None:
        """Free the memory of the model; the next image loads it again."""
        if self._queue is not None:
            self._queue.call(self.engine.pool.unload).result()
            self._queue.close(_CLOSE_S)
            self._queue = None

    def _generate(
        self,
        resolved: Sequence[ResolvedRequest],
        on_progress: Callable[[float], None],
        on_image: Callable[[OutputImage], None],
    ) -> list[OutputImage]:
        if self._queue is None:
            self._queue = GenerationQueue(
                self.engine.pool.generate, float("inf"), self.settings.batch_size, when_idle=self.engine.pool.when_idle
            )
        queued, images = self._queue.submit_all(resolved), list[OutputImage]()
        try:
            for request in queued:
                while not request.future.done():
                    wait([request.future], timeout=_POLL_S)
                    on_progress(sum(1.0 if other.future.done() else other.progress for other in queued) / len(queued))
                for image in self._outputs(request):
                    on_image(image)
                    images.append(image)
        except BaseException:
            for request in queued:
                request.cancel()
            raise
        return images

    def _outputs(self, queued: QueuedRequest) -> list[OutputImage]:
        resolved, result = queued.resolved, queued.future.result()
        for message in self.engine.warnings(resolved, result):
            warnings.warn(message, stacklevel=4)
        meta = self.engine.meta(resolved, result)
        return [
            OutputImage(image, self.engine.parameters(resolved, params, meta), data, resolved.output_format, meta.unguided_steps)
            for image, params, data in zip(
                result.images, resolved.params, self.engine.encode(resolved, result, meta), strict=True
            )
        ]

    def _name(self, lora: str) -> dict[str, str]:
        """The field of a request that names an adapter."""
        if lora.startswith(HASH_PREFIX):
            return {"ref": lora}
        if any((start / lora).exists() for start in (Path.cwd(), self.settings.models_folder)):
            return {"path": lora}
        return {"id": lora} if lora in self.engine.registry.ids() else {"ref": lora}


def _parsed(kind: type[_Request], fields: Mapping[str, Any]) -> _Request:
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise BadInput("; ".join(explain(kind, error))) from None


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _seed(first: int | None, offset: int) -> dict[str, int]:
    return {} if first is None or first == -1 else {"seed": first + offset}


def _free_path(folder: Path, name: str, suffix: str) -> Path:
    """A path that does not exist yet: ``name``, or ``name`` with a number."""
    path, number = folder / f"{name}.{suffix}", 2
    while path.exists():
        path, number = folder / f"{name}-{number}.{suffix}", number + 1
    return path
