"""What serving and generating in a program's own process have in common: requests are resolved, images described and encoded."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from foundation.errors import BadInput
from zthumb.diffusion.step_cache import extrapolated_steps
from zthumb.generation.parameters import GenerationParams
from zthumb.server import presets
from zthumb.server.adapter_registry import AdapterRegistry
from zthumb.server.api.schemas import AppliedLora, GenerateRequest, Meta, Timings
from zthumb.server.queue.backend_pool import BackendPool
from zthumb.server.queue.generation_queue import GenerationResult
from zthumb.server.reports import Reports
from zthumb.server.request_resolver import Model, RequestResolver, ResolvedRequest
from zthumb.server.settings import Settings
from zthumb.server.storage.image_encoder import encode_image
from zthumb.sources.download import ProgressCallback
from zthumb.sources.reference import shown
from zthumb.sources.resolve import Resolver

_RARE = ("true_cfg_scale", "guidance_schedule", "embedded_guidance_schedule", "step_cache")
"""Parameters that most images leave as they are, and that are not written into their files then."""


class Engine:
    """The presets, adapters and backends of one set of settings.

    ``is_confined``: requests come from others, who may name adapters inside the models folder alone.
    """

    def __init__(self, settings: Settings, resolver: Resolver, is_confined: bool = True) -> None:
        """Read the presets and check the base; ``BadInput`` if there is no base or a preset is invalid."""
        self.settings, self.resolver = settings, resolver
        if "presets_folder" in settings.model_fields_set and not settings.presets_folder.is_dir():
            raise BadInput(f"ZTHUMB_PRESETS_FOLDER: there is no folder {settings.presets_folder}.")
        self.presets = presets.read_presets(settings.presets_folder)
        self.pool, self.registry = BackendPool(settings, resolver), AdapterRegistry(settings, resolver, is_confined)
        self.reports = Reports(settings.reports_folder)
        self._request_resolver = RequestResolver(settings, self.registry)

    def resolve(self, request: GenerateRequest) -> ResolvedRequest:
        """Apply the preset, choose the backend and resolve ``request``; ``BadInput`` says what is impossible."""
        model, has_preset_loras = self.pool.default_model, False
        if request.preset is not None:
            preset = presets.get_preset(self.presets, request.preset)
            has_preset_loras = not request.names_adapters
            request = preset.apply_to(request)
            model = Model(preset.base or model.base, preset.vae if preset.base else preset.vae or model.vae)
        backend_key, reason = self.pool.choose(request.variant, model)
        family, limits, size = self.pool.family(model), self.pool.limits(backend_key), self.pool.size(model)
        resolved = self._request_resolver.resolve(request, backend_key, reason, family, limits, size, has_preset_loras)
        self.pool.largest_batch(backend_key, resolved.params[0], images=1)
        return resolved

    def warnings(self, resolved: ResolvedRequest, result: GenerationResult) -> list[str]:
        """Return what the client should know about the images of a request."""
        warnings = [*resolved.warnings, *result.applied.notes]
        for field, end in result.truncated_text.items():
            warnings.append(f"{field}: too long; its end was ignored: {end[:80]!r}. prompt_parser lpw and compel use all of it.")
        if result.tile is not None:
            warnings.append(f"memory ran out: decoded in tiles of {result.tile} pixels, which shifts colours a little.")
        return warnings

    def meta(self, resolved: ResolvedRequest, result: GenerationResult) -> Meta:
        """Return how the images of a request were generated."""
        first = resolved.params[0]
        return Meta(
            backend=resolved.backend_key.variant,
            variant=resolved.backend_key.variant,
            base=shown(resolved.backend_key.model.base),
            variant_reason=resolved.variant_reason,
            scheduler=first.scheduler or self.pool.info(resolved.backend_key).scheduler,
            steps=first.steps,
            cfg=first.guidance_scale,
            width=first.width,
            height=first.height,
            batch_size=result.batch_size,
            timings=Timings(queue=round(result.queue_s, 4), lora=round(result.lora_s, 4), generate=round(result.generate_s, 4)),
            peak_memory_mb=round(result.peak_bytes / 2**20, 1),
            unguided_steps=first.guidance(self.pool.family(resolved.backend_key.model)).unguided_steps(first.steps),
            extrapolated_steps=extrapolated_steps(first.steps, first.step_cache),
            learned_tokens=list(result.applied.learned_tokens),
            loras=[
                AppliedLora(path=self.registry.public_path(lora.path), weight=lora.weight, sha256=sha256, trigger=trigger)
                for lora, sha256, trigger in zip(resolved.loras, result.applied.sha256, resolved.triggers, strict=True)
            ],
        )

    def parameters(self, resolved: ResolvedRequest, params: GenerationParams, meta: Meta) -> dict[str, Any]:
        """Return what reproduces an image, without times or durations: the same image always gives the same file."""
        values = asdict(params)
        for name in _RARE:
            if values[name] == getattr(GenerationParams, name):
                del values[name]
        return {
            **values,
            "scheduler": meta.scheduler,
            "variant": meta.variant,
            "loras": [lora.model_dump() for lora in meta.loras],
            "base_sha256": self.pool.info(resolved.backend_key).base_sha256,
        }

    def encode(self, resolved: ResolvedRequest, result: GenerationResult, meta: Meta) -> list[bytes]:
        """Return the file of each image of a request, with its parameters in it."""
        return [
            encode_image(image, resolved.output_format, self.parameters(resolved, params, meta))
            for params, image in zip(resolved.params, result.images, strict=True)
        ]


def make_resolver(settings: Settings, progress: Callable[[str], ProgressCallback] = lambda _: lambda _, __: None) -> Resolver:
    """Create the resolver that finds and downloads a server's models; ``progress`` makes a progress callback for each file."""
    downloads = settings.download_folder or settings.models_folder
    beside = () if downloads == settings.models_folder else (settings.models_folder,)
    return Resolver(downloads, beside=beside, watch=progress)
