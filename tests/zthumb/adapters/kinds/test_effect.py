"""Every kind of adapter has the same effect as in the code of the program that writes it, and leaves no trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from lycoris.modules.norms import NormModule
from lycoris.modules.tlora import TLoraModule
from peft import IA3Config, LoHaConfig, LoKrConfig, LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch import Tensor, nn

from foundation.errors import BadInput
from tests.conftest import MINIATURE
from zthumb import families
from zthumb.adapters import apply, module_shapes, reader
from zthumb.adapters.effect import check_effect
from zthumb.adapters.module_shapes import ModuleShapes

LINEAR = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
SMALL = "down_blocks.0.resnets.0.conv1"
NORM = "down_blocks.0.resnets.0.norm1"
SDXL = families.get("sdxl")


@pytest.fixture(scope="module")
def components() -> dict[str, Any]:
    pipeline = SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))
    return {component: getattr(pipeline, component) for component in SDXL.adapted_components}


@pytest.fixture(scope="module")
def base(components: dict[str, Any]) -> ModuleShapes:
    return module_shapes.of_components("mini-sdxl", components, families.get("sdxl"))


def _trained(module: Any, seed: int = 0, strength: float = 0.3) -> Any:
    """The LyCORIS module with every parameter changed from its initial value."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator) * strength
    return module.eval()


@torch.no_grad()
def _full(name: str, org: Any) -> Any:
    return FullModule.make_module_from_state_dict(name, org, torch.zeros_like(org.weight), torch.zeros(64))


LYCORIS: dict[str, tuple[str, Callable[[str, nn.Module], Any]]] = {
    "loha": (LINEAR, lambda name, org: LohaModule(name, org, 1.0, 4, 4)),
    "loha conv tucker": (SMALL, lambda name, org: LohaModule(name, org, 1.0, 4, 4, use_tucker=True)),
    "loha conv": (SMALL, lambda name, org: LohaModule(name, org, 1.0, 4, 4)),
    "loha dora": (LINEAR, lambda name, org: LohaModule(name, org, 1.0, 4, 4, weight_decompose=True)),
    "lokr": (LINEAR, lambda name, org: LokrModule(name, org, 1.0, 2, 2, factor=4)),
    "lokr full": (LINEAR, lambda name, org: LokrModule(name, org, 1.0, 10_000, 1, factor=8)),
    "lokr both": (LINEAR, lambda name, org: LokrModule(name, org, 1.0, 1, 1, factor=8, decompose_both=True)),
    "lokr conv tucker": (SMALL, lambda name, org: LokrModule(name, org, 1.0, 2, 2, factor=4, use_tucker=True)),
    "lokr conv": (SMALL, lambda name, org: LokrModule(name, org, 1.0, 2, 2, factor=4)),
    "lokr dora": (LINEAR, lambda name, org: LokrModule(name, org, 1.0, 2, 2, factor=4, weight_decompose=True)),
    "locon": (SMALL, lambda name, org: LoConModule(name, org, 1.0, 4, 2)),
    "locon tucker": (SMALL, lambda name, org: LoConModule(name, org, 1.0, 4, 2, use_tucker=True)),
    "dora over outputs": (LINEAR, lambda name, org: LoConModule(name, org, 1.0, 4, 2, weight_decompose=True)),
    "dora over inputs": (LINEAR, lambda name, org: LoConModule(name, org, 1.0, 4, 2, weight_decompose=True, wd_on_out=False)),
    "dora over inputs conv": (SMALL, lambda name, org: LoConModule(name, org, 1.0, 4, 2, weight_decompose=True, wd_on_out=False)),
    "ia3": (LINEAR, lambda name, org: IA3Module(name, org, 1.0)),
    "ia3 on input": (LINEAR, lambda name, org: IA3Module(name, org, 1.0, train_on_input=True)),
    "glora": (LINEAR, lambda name, org: GLoRAModule(name, org, 1.0, 4, 2)),
    "oft": (LINEAR, lambda name, org: DiagOFTModule(name, org, 1.0, 8)),
    "oft rescaled": (SMALL, lambda name, org: DiagOFTModule(name, org, 1.0, 8, rescaled=True)),
    "boft": (LINEAR, lambda name, org: ButterflyOFTModule(name, org, 1.0, 8)),
    "boft conv": (SMALL, lambda name, org: ButterflyOFTModule(name, org, 1.0, 8, rescaled=True)),
    "full": (SMALL, lambda name, org: _full(name, org)),
    "norm": (NORM, lambda name, org: NormModule(name, org, 1.0)),
    "tlora": (LINEAR, lambda name, org: TLoraModule(name, org, 1.0, 4, 4)),
}


def _inputs(module: nn.Module) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    channels = (
        module.in_features if isinstance(module, nn.Linear) else getattr(module, "in_channels", None) or module.num_channels
    )
    shape = (2, 5, channels) if isinstance(module, nn.Linear) else (2, channels, 8, 8)
    return torch.randn(*shape, generator=generator)


@torch.no_grad()
def _expected(org: nn.Module, reference: Any, inputs: Tensor) -> Tensor:
    weight, bias = reference.get_merged_weight(1.0, shape=org.weight.shape)
    state = {
        "weight": weight.reshape(org.weight.shape),
        **({"bias": org.bias if bias is None else bias} if org.bias is not None else {}),
    }
    expected: Tensor = torch.func.functional_call(org, state, (inputs,))
    return expected


@pytest.mark.parametrize("kind", LYCORIS)
def test_the_effect_equals_that_of_lycoris_and_leaves_no_trace(
    kind: str, components: dict[str, Any], base: ModuleShapes, tmp_path: Path
) -> None:
    path, make = LYCORIS[kind]
    org = components["unet"].get_submodule(path)
    strength = 0.05 if "tlora" in kind else 0.3
    reference = _trained(make(f"lora_unet_{path.replace('.', '_')}", org), strength=strength)
    tensors = {
        f"lora_unet_{path.replace('.', '_')}.{name}": value.detach().clone().contiguous()
        for name, value in _state(reference).items()
    }
    save_file(tensors, tmp_path / "a.safetensors")
    inputs, attributes = _inputs(org), dict(vars(org))

    adapter = reader.load(tmp_path / "a.safetensors", base)
    with torch.no_grad():
        original = org(inputs)
        expected = _expected(org, reference, inputs)
        apply.inject(components, adapter, "a")
        adapted = components["unet"].get_submodule(path)
        modules = apply.adapted_modules(components)
        apply.set_weights(modules, {"a": 1.0})
        output = adapted(inputs)
        apply.set_weights(modules, {})
        inactive = adapted(inputs)
        apply.unload(components)
        unloaded = components["unet"].get_submodule(path)

    assert torch.allclose(output, expected, atol=2e-4, rtol=1e-4), float((output - expected).abs().max())
    assert float((output - original).abs().max()) > 1e-3
    assert torch.equal(inactive, original)
    assert unloaded is org
    assert vars(org).keys() == attributes.keys()
    assert torch.equal(org(inputs), original)


def _state(module: Any) -> dict[str, Tensor]:
    """The tensors that LyCORIS would write for a module."""
    if isinstance(module, FullModule):
        # LyCORIS subtracts the base again from a module that was made from a file.
        return {"diff": module.weight, "diff_b": module.bias}
    custom = module.custom_state_dict()
    if custom is not None:
        return {name: torch.as_tensor(value) for name, value in custom.items() if value is not None}
    return {name: value for name, value in module.state_dict().items() if name != "scalar"}


@pytest.mark.parametrize("kind", ["loha", "glora", "full", "norm", "dora over inputs"])
def test_merging_into_the_weights_has_the_same_effect(kind: str, base: ModuleShapes, tmp_path: Path) -> None:
    pipeline = SDXL.load(MINIATURE, torch.float32, torch.device("cpu"))
    components = {"unet": pipeline.unet}
    path, make = LYCORIS[kind]
    org = components["unet"].get_submodule(path)
    reference = _trained(make(f"lora_unet_{path.replace('.', '_')}", org))
    save_file(
        {f"lora_unet_{path.replace('.', '_')}.{name}": value.contiguous() for name, value in _state(reference).items()},
        tmp_path / "a.safetensors",
    )
    inputs, adapter = _inputs(org), reader.load(tmp_path / "a.safetensors", base)
    expected = _expected(org, reference, inputs)

    apply.inject(components, adapter, "a")
    apply.set_weights(apply.adapted_modules(components), {"a": 1.0})
    apply.merge(components)

    assert torch.allclose(components["unet"].get_submodule(path)(inputs), expected, atol=2e-4, rtol=1e-4)


PEFT: dict[str, Any] = {
    "lora": LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"], init_lora_weights=False),
    "lora regular expressions": LoraConfig(
        r=4, lora_alpha=8, target_modules=["to_q"], rank_pattern={r"down_blocks\..*\.to_q": 2}, alpha_pattern={r"down_.*to_q": 3},
        init_lora_weights=False,
    ),
    "lora bias": LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"], lora_bias=True, init_lora_weights=False),
    "dora": LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"], use_dora=True, init_lora_weights=False),
    "loha": LoHaConfig(r=4, alpha=8, target_modules=["to_q"], init_weights=False),
    "lokr": LoKrConfig(r=2, alpha=8, target_modules=["to_q"], init_weights=False),
    "ia3": IA3Config(target_modules=["to_q", "to_k"], feedforward_modules=["to_k"]),
    "pissa": LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"], init_lora_weights="pissa"),
    "olora": LoraConfig(r=4, lora_alpha=8, target_modules=["to_q"], init_lora_weights="olora"),
}  # fmt: skip


@pytest.fixture
def unet() -> Any:
    return SDXL.load(MINIATURE, torch.float32, torch.device("cpu")).unet


@pytest.mark.parametrize("kind", PEFT)
def test_the_effect_of_a_peft_folder_equals_that_of_peft(
    kind: str, unet: Any, components: dict[str, Any], base: ModuleShapes, tmp_path: Path
) -> None:
    model = get_peft_model(unet, PEFT[kind])
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                parameter += torch.randn(parameter.shape, generator=generator) * (0.02 if "magnitude" in name else 0.1)
    model.save_pretrained(tmp_path)
    reference = model.base_model.model.get_submodule(LINEAR)
    inputs = _inputs(components["unet"].get_submodule(LINEAR))

    adapter = reader.load(tmp_path, base)
    apply.inject(components, adapter, "a")
    try:
        apply.set_weights(apply.adapted_modules(components), {"a": 1.0})
        with torch.no_grad():
            output, expected = components["unet"].get_submodule(LINEAR)(inputs), reference(inputs)
    finally:
        apply.unload(components)

    assert torch.allclose(output, expected, atol=2e-4, rtol=1e-4), float((output - expected).abs().max())


@pytest.mark.parametrize("kind", ["pissa", "olora"])
def test_an_untrained_folder_whose_initialization_was_subtracted_from_the_base_changes_nothing(
    kind: str, unet: Any, base: ModuleShapes, tmp_path: Path
) -> None:
    get_peft_model(unet, PEFT[kind]).save_pretrained(tmp_path)

    with pytest.raises(BadInput, match="changes nothing"):
        check_effect(reader.load(tmp_path, base), base, tmp_path)


@pytest.mark.parametrize("initialization", ["corda", "loftq", "lora_ga"])
def test_an_initialization_that_the_file_does_not_record_is_refused(
    initialization: str, unet: Any, base: ModuleShapes, tmp_path: Path
) -> None:
    get_peft_model(unet, PEFT["lora"]).save_pretrained(tmp_path)
    configuration = tmp_path / "adapter_config.json"
    configuration.write_text(
        configuration.read_text().replace('"init_lora_weights": false', f'"init_lora_weights": "{initialization}"')
    )

    with pytest.raises(BadInput, match=f"init_lora_weights: {initialization} also changes the base"):
        reader.load(tmp_path, base)
