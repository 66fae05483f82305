"""The one place where pictures are made: the backend, the thread it works in, and the adapters a request may name."""

import base64
import io
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from foundation.errors import BadInput
from zthumb import backends
from zthumb.backends.base import Lora, Picture
from zthumb.server.schemas import AppliedLora, GenerateAnswer, GeneratedImage, GenerateRequest, Meta, ModelsAnswer
from zthumb.server.settings import Settings
from zthumb.sources.local import find_base

_SEEDS = 2**32


class Studio:
    """A loaded backend that answers one request at a time."""

    def __init__(self, settings: Settings) -> None:
        """Load the base and paint one picture in one step, with the default adapter on it, to know that everything works."""
        self.settings = settings
        # The model is loaded and used in one thread alone. Two threads that multiply matrices have twice as many workers as there
        # are processors, even while one is idle: those then sleep where they would wait, and a small picture takes twice as long.
        self._painter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="painter")
        self._backend = self._painter.submit(backends.get("full"), find_base(settings.model)).result()
        self.generate(GenerateRequest(prompt="", steps=1, seed=0))

    def generate(self, request: GenerateRequest) -> GenerateAnswer:
        """Make the pictures of one request. ``BadInput`` when the adapter it names cannot be used."""
        lora = self._lora(request)
        seed = secrets.randbelow(_SEEDS) if request.seed is None else request.seed
        size = self._backend.native_resolution
        width, height = request.width or size, request.height or size
        asked = [
            Picture(request.prompt, request.negative_prompt, width, height, seed + turn, request.steps, request.cfg)
            for turn in range(request.batch)
        ]
        pictures, digest, timings = self._painter.submit(self._paint, asked, lora).result()
        named = AppliedLora(path=self._name(lora.path), scale=lora.scale, sha256=digest) if lora and digest else None
        return GenerateAnswer(
            images=[
                GeneratedImage(seed=seed + turn, b64_json=_encode(picture, request.output_format))
                for turn, picture in enumerate(pictures)
            ],
            meta=Meta(
                backend=self._backend.name,
                variant=self._backend.name,
                steps=request.steps,
                cfg=request.cfg,
                width=width,
                height=height,
                timings=timings,
                lora=named,
            ),
            warnings=[],
        )

    def models(self) -> ModelsAnswer:
        """What is served."""
        return ModelsAnswer(
            base=self.settings.model,
            base_sha256=self._backend.base_sha256,
            family=self._backend.family,
            backends=backends.names(),
            resolution=self._backend.native_resolution,
            loras=self._loras(),
            lora_loaded=self.settings.lora_path is not None,
            lora_path=self.settings.lora_path,
            lora_scale=self.settings.lora_scale,
        )

    def _paint(self, asked: list[Picture], lora: Lora | None) -> tuple[list[Image.Image], str | None, dict[str, float]]:
        """The pictures, the hash of the adapter that was on for them, and how long both took in seconds."""
        started = time.perf_counter()
        with self._backend.lora_applied(lora) as digest:
            applied = time.perf_counter()
            pictures = [self._backend.generate(picture) for picture in asked]
        finished = time.perf_counter()
        return pictures, digest, {"lora": round(applied - started, 4), "generate": round(finished - applied, 4)}

    def _lora(self, request: GenerateRequest) -> Lora | None:
        path = request.lora_path or self.settings.lora_path
        if path is None:
            if request.lora_scale is not None:
                raise BadInput("lora_scale: given without lora_path, and this server has no adapter of its own.")
            return None
        scale = self.settings.lora_scale if request.lora_scale is None else request.lora_scale
        return Lora(self._inside(path), scale)

    def _inside(self, path: str) -> Path:
        """The file or folder a request means: inside the models folder even after every link on the way is followed."""
        root = self.settings.models_folder.resolve()
        try:
            candidates = [(start / path).resolve() for start in (Path.cwd(), root)]
            inside = [candidate for candidate in candidates if candidate.is_relative_to(root)]
            there = [candidate for candidate in inside if candidate.exists()]
        except (OSError, ValueError):
            raise BadInput(f"lora_path: {path!r} is no path.") from None
        if not inside:
            raise BadInput(f"lora_path: {path!r} lies outside the models folder; give a path inside it.")
        if not there:
            raise BadInput(f"lora_path: nothing is at {path!r}; GET /models lists the adapters there are.")
        return there[0]

    def _loras(self) -> list[str]:
        return sorted(self._name(path) for path in self.settings.models_folder.resolve().glob("lora/*/*.safetensors"))

    def _name(self, path: Path) -> str:
        return path.relative_to(self.settings.models_folder.resolve()).as_posix()


def _encode(picture: Image.Image, output_format: str) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format=output_format, **({} if output_format == "png" else {"quality": 95}))
    return base64.b64encode(buffer.getvalue()).decode("ascii")
