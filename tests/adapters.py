"""An adapter with large random weights, for tests that need a visible effect."""

from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model_state_dict

from foundation.files import read_json
from zthumb import families
from zthumb.adapters.adapter import Adapter
from zthumb.sources.local import family_of

MINI_SDXL = (families.get("sdxl"), read_json(Path(__file__).parent.parent / "models" / "mini-sdxl" / "unet" / "config.json"))
"""Family and denoiser configuration of ``models/mini-sdxl``, which the names of a kohya file depend on."""


def random_adapter(
    base: Path, rank: int = 4, alpha: float = 4.0, targets: str = "attention", strength: float = 0.1, use_dora: bool = False
) -> Adapter:
    """Return an adapter for the denoiser of ``base``; the same arguments give the same weights."""
    family = families.get(family_of(base))
    denoiser = family.denoiser(family.load(base, torch.float32, torch.device("cpu")))
    modules = family.lora_modules(family.denoiser_component, denoiser, targets)
    denoiser.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=modules, use_dora=use_dora))
    generator = torch.Generator().manual_seed(0)
    weights = {
        f"{family.denoiser_component}.{name}": torch.randn(weight.shape, generator=generator) * strength
        + (weight if "magnitude" in name else 0)
        for name, weight in sorted(get_peft_model_state_dict(denoiser).items())
    }
    return Adapter.from_peft(weights, alpha / rank)
