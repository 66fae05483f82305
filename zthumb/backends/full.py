"""The whole model, any number of steps, with guidance."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from foundation.device import check_compiler, choose_device
from foundation.hashing import hash_value
from zthumb import families
from zthumb.adapters import module_shapes, reader
from zthumb.adapters.adapter_cache import AdapterCache, AppliedAdapters, Lora
from zthumb.adapters.merged import merge_adapter
from zthumb.backends.base import BackendInfo, BaseBackend, Options, WeightsLocation
from zthumb.diffusion import schedulers
from zthumb.diffusion.sampling import StepCallback
from zthumb.families.base import Limits, ModelFamily
from zthumb.families.shared import random_weights
from zthumb.generation.image_generator import ImageGenerator
from zthumb.generation.parameters import GenerationParams
from zthumb.memory import salience, usage
from zthumb.memory.quantize import NO_FACTORS, check_quantization, quantize, quantized_copy
from zthumb.memory.residency import AllResident, Offloaded, OffloadedModel, Placement, Residency
from zthumb.sources.local import INDEX, family_of, hash_base

if TYPE_CHECKING:
    from PIL import Image

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Backend(BaseBackend):
    """A diffusers pipeline."""

    name = "full"
    preference = 0
    spacing: str | None = None

    @classmethod
    def limits(cls, family: ModelFamily) -> Limits:
        return family.limits

    @classmethod
    def find(cls, model: Path, configured: Path | None) -> WeightsLocation | None:
        folder = configured or model
        return WeightsLocation(folder, folder) if is_base(folder) and not is_few_step(folder) else None

    @classmethod
    def weights_bytes(cls, location: WeightsLocation, element: int) -> int:
        # Where there are no weights yet, as many as its configuration has.
        family = families.get(family_of(location.base))
        return usage.weights(location.base, element) or element * random_weights.count(family, location.base)

    @classmethod
    def placements(cls, location: WeightsLocation, options: Options, device_type: str) -> Mapping[Placement, str]:
        is_mapped = device_type == "cpu"
        reasons = {
            "a compiled denoiser would be compiled again for weights that moved": options.compile,
            "weights in channels-last order would be reordered each time they are copied": options.channels_last and is_mapped,
            "an adapter of few steps is merged into weights that are in no file": location.few_step_adapter and is_mapped,
            "quantized weights are in no file": options.quantization != "none" and is_mapped,
            "random weights are in no file": options.dummy and is_mapped,
        }
        return {"resident": "", "offload": next((reason for reason, holds in reasons.items() if holds), "")}

    @classmethod
    def hash_of(cls, location: WeightsLocation) -> str:
        base, adapter = hash_base(location.base), location.few_step_adapter
        return base if adapter is None else hash_value({"base": base, "few_step_adapter": reader.hash_of(adapter)})

    def __init__(self, location: WeightsLocation, options: Options) -> None:
        device = choose_device(options.device)
        family = families.get(family_of(location.base))
        dtype = dtype_of(options, device)
        pipeline, self._residency = self._place(location, family, options, device)
        denoiser = family.denoiser(pipeline)
        components = {name: getattr(pipeline, name) for name in family.adapted_components}
        if options.channels_last and options.placement == "resident":
            denoiser.to(memory_format=torch.channels_last)
        with self._residency.using([family.denoiser_component]):
            size = sum(usage.bytes_of(parameter) for parameter in denoiser.parameters())
        shapes = (
            module_shapes.of_components(location.base.name, components, family)
            if options.placement == "resident"
            else module_shapes.of_folder(location.base.name, location.base, family)
        )
        self._adapters = AdapterCache(
            components, shapes, options.adapter_bytes, self._residency.using, self._residency.reading, (device, dtype)
        )
        if options.compile:
            check_compiler(device.type)
            denoiser.compile_repeated_blocks()
        self._generator = ImageGenerator(pipeline, family, device, options.tile, self.spacing, self._residency.using)
        self.info = BackendInfo(
            family=family.name,
            base_sha256=self.hash_of(location),
            resolution=family.resolution(location.base),
            scheduler=schedulers.name_of(pipeline.scheduler),
            denoiser_bytes=size,
            device=device.type,
            precision=next(name for name, known in _DTYPES.items() if known == dtype),
        )

    @property
    def pipeline(self) -> Any:
        """The pipeline, whose components have weights where they are placed."""
        return self._generator.pipeline

    def _place(
        self, location: WeightsLocation, family: ModelFamily, options: Options, device: torch.device
    ) -> tuple[Any, Residency]:
        """The pipeline, and what brings its components to ``device``."""
        if options.placement == "resident":
            return self._load(location, family, options, device, device), AllResident()
        dtype, waiting = dtype_of(options, device), torch.device("cpu")
        is_mapped = device.type == "cpu" and not self.placements(location, options, device.type)["offload"]
        pipeline = _map(location.base, family) if is_mapped else self._load(location, family, options, device, waiting)
        if options.channels_last:
            family.denoiser(pipeline).to(memory_format=torch.channels_last)
        models = {name: getattr(pipeline, name) for name in _with_weights(family, location.base)}
        offloaded = {
            name: OffloadedModel(model, device, dtype if is_mapped else None, options.blocks_to_swap.get(name, 0))
            for name, model in models.items()
        }
        return pipeline, Offloaded(offloaded)

    def _load(
        self, location: WeightsLocation, family: ModelFamily, options: Options, device: torch.device, place: torch.device
    ) -> Any:
        """The pipeline that computes on ``device``, its weights at ``place``."""
        load = partial(random_weights.load, family) if options.dummy else family.load
        # A denoiser to quantize waits in main memory: on its way to the device it becomes smaller.
        loading = place if options.quantization == "none" else torch.device("cpu")
        pipeline = load(location.base, dtype_of(options, device), loading)
        if location.few_step_adapter is not None:
            stored = partial(quantized_copy, kind=options.quantization, dtype=dtype_of(options, device), device=device)
            merge_adapter(location.few_step_adapter, pipeline, family, stored)
            pipeline.scheduler = schedulers.changed(pipeline.scheduler, family.few_step_schedule)
        denoiser, factors = family.denoiser(pipeline), NO_FACTORS
        if options.salience is not None:
            factors = salience.read(options.salience, denoiser, hash_base(location.base), options.quantization)
        check_quantization(options.quantization, device)
        quantize(denoiser, options.quantization, device, place, factors)
        for name in _with_weights(family, location.base) if loading != place else ():
            getattr(pipeline, name).to(place)
        return pipeline

    def generate(
        self,
        batch: Sequence[GenerationParams],
        on_step: StepCallback,
        learned_tokens: Mapping[str, int],
        tile: int | None = None,
    ) -> list["Image.Image"]:
        return self._generator.generate(batch, on_step, learned_tokens, tile)

    def preview(self, latents: torch.Tensor) -> "Image.Image":
        return self._generator.preview(latents)

    def truncated_text(self, params: GenerationParams, learned_tokens: Mapping[str, int]) -> str:
        return self._generator.truncated_text(params, learned_tokens)

    def free_cache(self) -> None:
        self._adapters.clear()

    def apply_lora(self, loras: Sequence[Lora]) -> AbstractContextManager[AppliedAdapters]:
        return self._adapters.apply_lora(loras)


def _with_weights(family: ModelFamily, folder: Path) -> list[str]:
    return [name for name in family.components if (folder / name / "config.json").is_file()]


def _map(base: Path, family: ModelFamily) -> Any:
    """The pipeline on the CPU in the precision of its files, which are mapped into memory: nothing is read before it is used."""
    dtypes = {name: usage.dtype_of(base / name) for name in _with_weights(family, base)}
    return family.load(base, dtypes, torch.device("cpu"))


def is_base(folder: Path) -> bool:
    """Whether ``folder`` is a base in the diffusers layout."""
    return (folder / INDEX).is_file()


def is_few_step(folder: Path) -> bool:
    """Whether the base in ``folder`` says that it was distilled to few steps."""
    return families.get(family_of(folder)).is_few_step(folder)


def dtype_of(options: Options, device: torch.device) -> torch.dtype:
    """The precision that a base is run in on ``device``."""
    if options.precision == "auto":
        return torch.bfloat16 if device.type in ("cuda", "xpu") else torch.float32
    return _DTYPES[options.precision]
