"""A request as what is to be painted: every default filled in, every path looked at, everything impossible refused."""

import secrets
from dataclasses import dataclass
from pathlib import Path

from foundation.errors import BadInput
from zthumb.adapters import header, words
from zthumb.adapters.loaded import Lora
from zthumb.adapters.words import ENDING
from zthumb.backends.base import Limits
from zthumb.painting.painter import Picture
from zthumb.server.schemas import GenerateRequest, LoraRequest
from zthumb.server.settings import Settings

_SEEDS = 2**32


@dataclass(frozen=True)
class Order:
    """Pictures to be painted by ``backend``, and ``why`` by that one, under ``loras``.

    ``cost`` is in steps of one picture of the base's own size.
    """

    backend: str
    why: str
    pictures: tuple[Picture, ...]
    loras: tuple[Lora, ...]
    deterministic: bool
    cost: float
    warnings: tuple[str, ...] = ()

    def goes_with(self, other: "Order") -> bool:
        """Whether both can be painted at once: they differ in prompts and seeds alone."""
        return not (self.deterministic or other.deterministic) and self._kind == other._kind

    @property
    def _kind(self) -> tuple[object, ...]:
        first = self.pictures[0]
        # Without a negative prompt the denoiser is told zeros, with an empty one what the text encoders make of it.
        is_told = first.negative_prompt is not None
        size = (first.width, first.height)
        return (self.backend, self.loras, size, first.steps, first.guidance_scale, first.scheduler, is_told)


@dataclass(frozen=True)
class Orders:
    """Makes orders out of requests. ``resolution`` is the base's own size in pixels."""

    settings: Settings
    resolution: int

    def of(self, request: GenerateRequest, backend: str, why: str, limits: Limits) -> Order:
        """The order that ``request`` means; ``BadInput`` says what of it cannot be."""
        steps = _within(limits.steps, request.steps, limits.default_steps, "steps", backend)
        guidance = _within(limits.guidance_scale, request.cfg, limits.default_guidance_scale, "cfg", backend)
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        width, height = request.width or self.resolution, request.height or self.resolution
        pictures = tuple(
            Picture(request.prompt, request.negative_prompt, width, height, seed + turn, int(steps), guidance, request.scheduler)
            for turn in range(request.batch)
        )
        cost = steps * request.batch * width * height / self.resolution**2
        if cost > self.settings.queue_room:
            raise BadInput(
                f"steps × pictures × pixels: {cost:.0f} is more than this server takes at once ({self.settings.queue_room}). Ask "
                "for less, or in several requests."
            )
        return Order(backend, why, pictures, self._loras(request), request.deterministic, cost, _warnings(request, guidance))

    def named(self, path: Path) -> str:
        """An adapter's path as ``lora_path`` takes it."""
        return path.relative_to(self._root).as_posix()

    def files(self) -> list[str]:
        """Every adapter in the models folder."""
        return sorted(self.named(path) for path in self._root.glob("lora/*/*.safetensors") if not path.name.endswith(ENDING))

    def ids(self) -> list[str]:
        """The folders of models/lora that have an adapter in them."""
        return sorted({path.parent.name for path in self._root.glob("lora/*/*.safetensors")})

    @property
    def _root(self) -> Path:
        return self.settings.models_folder.resolve()

    def _loras(self, request: GenerateRequest) -> tuple[Lora, ...]:
        if request.loras:
            found = tuple(self._lora(asked) for asked in request.loras)
            if len({lora.path for lora in found}) < len(found):
                raise BadInput("loras: names one adapter twice.")
            return found
        path = request.lora_path or self.settings.lora_path
        if path is None:
            if request.lora_scale is not None:
                raise BadInput("lora_scale: given without lora_path, and this server has no adapter of its own.")
            return ()
        return (Lora(self._inside(path, "lora_path"), self._weight(request.lora_scale)),)

    def _lora(self, asked: LoraRequest) -> Lora:
        if asked.path is not None:
            return Lora(self._inside(asked.path, "loras.path"), self._weight(asked.weight))
        if asked.id not in self.ids():
            raise BadInput(f"loras.id: no adapter is called {asked.id!r}; GET /models lists those there are.")
        folder = self._root / "lora" / asked.id
        own = folder / f"{asked.id}.safetensors"
        return Lora(self._inside(str(own if own.exists() else folder), "loras.id"), self._weight(asked.weight))

    def _weight(self, asked: float | None) -> float:
        return self.settings.lora_scale if asked is None else asked

    def _inside(self, path: str, field: str) -> Path:
        """The file or folder a request means: inside the models folder even after every link on the way is followed."""
        try:
            candidates = [(start / path).resolve() for start in (Path.cwd(), self._root)]
            inside = [candidate for candidate in candidates if candidate.is_relative_to(self._root)]
            there = [candidate for candidate in inside if candidate.exists()]
        except (OSError, ValueError):
            raise BadInput(f"{field}: {path!r} is no path.") from None
        if not inside:
            raise BadInput(f"{field}: {path!r} lies outside the models folder; give a path inside it.")
        if not there:
            raise BadInput(f"{field}: nothing is at {path!r}; GET /models lists the adapters there are.")
        # Of a folder the file in it, which may be a link of its own, and so may that of its words.
        file = header.read(there[0]).file.resolve()
        told = words.beside(file)
        if not all(each.resolve().is_relative_to(self._root) for each in (file, told) if each is not None):
            raise BadInput(f"{field}: {path!r} leads out of the models folder; give a path inside it.")
        return file


def _within(limits: tuple[float, float], asked: float | None, default: float, field: str, backend: str) -> float:
    if asked is None:
        return default
    low, high = limits
    if not low <= asked <= high:
        allowed = f"{low:g} to {high:g}" if low < high else f"only {low:g}"
        raise BadInput(f"{field}: {asked:g} is not what the {backend} variant can do, which is {allowed}.")
    return asked


def _warnings(request: GenerateRequest, guidance: float) -> tuple[str, ...]:
    if request.negative_prompt is not None and guidance <= 1:
        return (f"negative_prompt has no effect without guidance, and cfg is {guidance:g}.",)
    return ()
