"""Where the weights of models are: found or downloaded when they are first needed."""

from collections.abc import Mapping
from pathlib import Path

from foundation.errors import BadInput
from zthumb import backends, families
from zthumb.adapters.fitting_base import recognize
from zthumb.backends.base import WeightsLocation
from zthumb.server.queue.download_guard import DownloadGuard
from zthumb.server.request_resolver import Model
from zthumb.server.settings import Settings
from zthumb.sources import kinds
from zthumb.sources.bases import find_base, known_configuration
from zthumb.sources.local import family_of
from zthumb.sources.resolve import Resolver

FEW_STEPS = "turbo"
"""The variant that needs few steps."""


class WeightsLocator:
    """Finds the weights of each variant of a model. The server's ``settings`` name those of its own model, ``default_model``."""

    def __init__(self, settings: Settings, resolver: Resolver, default_model: Model) -> None:
        self._settings, self._resolver, self._default_model = settings, resolver, default_model
        self._locations: dict[Model, Mapping[str, WeightsLocation]] = {}
        self._downloads = DownloadGuard()

    def locations(self, model: Model) -> Mapping[str, WeightsLocation]:
        """Return the weights of each available variant of ``model``, the preferred variant first.

        The model is downloaded now if need be; ``DownloadInProgress`` if another request is downloading it already.
        """
        if model not in self._locations:
            with self._downloads.single_flight(model.base):
                self._locations[model] = self._find_locations(model)
        return self._locations[model]

    def known(self) -> list[WeightsLocation]:
        """Return the weights that were located so far, of all models."""
        return [location for locations in list(self._locations.values()) for location in locations.values()]

    def is_local(self, model: Model) -> bool:
        """Return whether ``model`` can be used without downloading anything."""
        small = self._text_encoder(model)
        references = [(model.base, kinds.MODEL), *([(model.vae, kinds.AUTOENCODER)] if model.vae else [])]
        references += [(small, kinds.TEXT_ENCODER)] if small else []
        return model in self._locations or all(self._resolver.here(reference, kind) is not None for reference, kind in references)

    def _text_encoder(self, model: Model) -> str | None:
        return self._settings.text_encoder if model == self._default_model else None

    def _find_locations(self, model: Model) -> dict[str, WeightsLocation]:
        if self._settings.dummy:
            return self._dummy_location(model)
        try:
            base = find_base(model.base, model.vae, self._resolver, self._text_encoder(model))
        except BadInput:
            # A server may have the few-step base alone.
            if model != self._default_model or not self._settings.turbo_model:
                raise
            base = Path(model.base)
        locations = {}
        for name in sorted(backends.names(), key=lambda name: backends.get(name).preference):
            reference = getattr(self._settings, f"{name}_model", None) if model == self._default_model else None
            location = backends.get(name).find(base, self._variant_path(name, reference) if reference else None)
            if name == FEW_STEPS and self._settings.turbo_adapter and model == self._default_model:
                locations[name] = self._with_few_step_adapter(base, self._settings.turbo_adapter)
            elif location is not None:
                locations[name] = location
            elif reference:
                raise BadInput(f"ZTHUMB_{name.upper()}_MODEL: {reference} has no weights that variant {name} can run.")
        return locations

    def _with_few_step_adapter(self, base: Path, reference: str) -> WeightsLocation:
        """Where variant turbo is, if an adapter makes it of the base itself."""
        if self._settings.turbo_model or families.get(family_of(base)).is_few_step(base):
            already = "ZTHUMB_TURBO_MODEL is set" if self._settings.turbo_model else "the base needs few steps already"
            raise BadInput(f"ZTHUMB_TURBO_ADAPTER: {already}. Leave it out.")
        try:
            adapter = self._resolver.path(reference, kinds.ADAPTER)
            recognize(adapter, base)
            return WeightsLocation(base, base, adapter)
        except BadInput as error:
            raise BadInput(f"ZTHUMB_TURBO_ADAPTER: {error}") from None

    def _dummy_location(self, model: Model) -> dict[str, WeightsLocation]:
        names = ("turbo_model", "turbo_adapter", "gguf_model", "text_encoder")
        others = [f"ZTHUMB_{name.upper()}" for name in names if getattr(self._settings, name)]
        if others or model.vae:
            raise BadInput(
                f"DUMMY: all weights are random, so that {' and '.join(others) or 'vae'} would mean nothing. Leave it out."
            )
        folder = known_configuration(model.base)
        return {FEW_STEPS if families.get(family_of(folder)).is_few_step(folder) else "full": WeightsLocation(folder, folder)}

    def _variant_path(self, variant: str, reference: str) -> Path:
        try:
            path = self._resolver.path(reference)
            return path if path.suffix == ".gguf" else find_base(reference, None, self._resolver, self._settings.text_encoder)
        except BadInput as error:
            raise BadInput(f"ZTHUMB_{variant.upper()}_MODEL: {error}") from None
