"""What an image's file says that it was generated from, as arguments of ``zthumb generate``."""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foundation.errors import BadInput

if TYPE_CHECKING:
    from zthumb.server.storage.image_parameters import ImageParameters
    from zthumb.text_to_image import OutputImage

_OURS = "zthumb"
_RENAMED = {"guidance_scale": "cfg"}


@dataclass(frozen=True)
class Original:
    """The image ``file``, the ``program`` that wrote it, and its ``parameters``, by the fields of a request where it has such."""

    file: Path
    program: str
    parameters: Mapping[str, Any]
    data: bytes

    @property
    def is_ours(self) -> bool:
        """Whether this program wrote it: then it can be repeated exactly."""
        return self.program == _OURS

    def fill(self, arguments: argparse.Namespace, names: tuple[str, ...]) -> None:
        """Give the arguments in ``names`` that are None, and the prompt and adapters, the values of the image."""
        values = {_RENAMED.get(name, name): value for name, value in self.parameters.items()}
        for name in ("prompt", *names):
            if getattr(arguments, name) is None and values.get(name) is not None:
                setattr(arguments, name, values[name])
        if not arguments.loras:
            arguments.loras = list(self._loras())
        if self.is_ours and arguments.model is None:
            arguments.model = self._base(str(values["variant"]), str(values["base_sha256"]))

    @property
    def settings(self) -> dict[str, Any]:
        """Settings that the image depends on besides its base."""
        size = self.parameters.get("original_size")
        return {"training_resolution": tuple(size)} if self.is_ours and size else {}

    def notes(self) -> Iterator[str]:
        """Yield what a repetition cannot know."""
        if not self.is_ours:
            base = f" with {self.parameters['model']}" if self.parameters.get("model") else ""
            yield f"{self.file}: {self.program} generated it{base}: the same settings here make another image."

    def difference(self, image: OutputImage) -> str:
        """Return in words how ``image`` compares with the original."""
        import numpy as np
        from PIL import Image

        changed = [name for name in self.parameters if self.parameters[name] != _as_json(image.parameters.get(name))]
        if changed:
            return f"other than {self.file} in {', '.join(sorted(changed))}"
        with Image.open(io.BytesIO(self.data)) as original:
            first, second = np.asarray(original.convert("RGB"), np.int16), np.asarray(image.image, np.int16)
        distance = np.abs(first - second)
        if not distance.any():
            return f"the same pixels as {self.file}"
        return (
            f"the same settings as {self.file}, but pixels differ, by {distance.max()} of 255 at most: generated in a batch, "
            "on another processor, or with other versions of libraries, or its file is compressed with loss"
        )

    def _loras(self) -> Iterator[str]:
        for lora in self.parameters.get("loras", []):
            name = f"sha256:{lora['sha256']}" if self.is_ours else lora.get("id")
            if name:
                yield f"{name}:{lora['weight']}"

    def _base(self, variant: str, sha256: str) -> str:
        """The base here with that hash."""
        from zthumb.server.engine import make_resolver
        from zthumb.server.queue.backend_pool import BackendPool
        from zthumb.server.read_settings import read_settings
        from zthumb.server.request_resolver import BackendKey
        from zthumb.sources.local import INDEX

        usual = read_settings()
        for reference in (usual.model, *sorted(str(index.parent) for index in usual.models_folder.glob(f"*/{INDEX}"))):
            settings = read_settings(model=reference)
            pool = BackendPool(settings, make_resolver(settings))
            if not pool.locator.is_local(pool.default_model) or variant not in pool.locations(pool.default_model):
                continue
            if pool.base_sha256(BackendKey(pool.default_model, variant)) == sha256:
                return reference
        raise BadInput(
            f"{self.file}: no base in {usual.models_folder} is the one it was generated with (SHA-256 {sha256[:12]}…). "
            "Name a base with --model to generate with another."
        )


def read(file: Path) -> Original:
    """Read what an image was generated from; ``BadInput`` if the file is none, or does not say it."""
    from zthumb.server.storage.image_parameters import read_parameters

    try:
        data = file.read_bytes()
        found: ImageParameters = read_parameters(data)
    except FileNotFoundError:
        raise BadInput(f"--from-image {file}: no such file.") from None
    except BadInput as error:
        raise BadInput(f"--from-image {file}: {error}") from None
    return Original(file, found.program, found.parameters, data)


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
