"""Example requests and responses for the OpenAPI description."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

Examples = Mapping[str, Any]


def of_schema(*examples: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``examples`` in the form of a model's ``json_schema_extra``."""
    return {"examples": [_to_plain(example) for example in examples]}


def of_response(*examples: Any) -> dict[int | str, Any]:
    """Return ``examples`` in the form of a route's ``responses``, for a route whose response has no model of its own."""
    numbered = {str(number): {"value": _to_plain(example)} for number, example in enumerate(examples, start=1)}
    return {200: {"content": {"application/json": {"examples": numbered}}}}


def _to_plain(value: Any) -> Any:
    """Turn the mappings in ``value`` into dicts, which JSON can hold."""
    if isinstance(value, Mapping):
        return {name: _to_plain(item) for name, item in value.items()}
    return [_to_plain(item) for item in value] if isinstance(value, list) else value


JOB_ID = "3f0c2b9e6d5a4c7f8b1e2d3c4a5b6978"
IMAGE_ID = "9a8b7c6d5e4f40312233445566778899"
_SHA256 = "a07df13fa443f2b4fc61aaa0e1e0a4a9d559c0d1ad623a8fe4ce61b8fd236b09"

ADAPTER_DETAILS: Examples = MappingProxyType(
    {
        "sha256": _SHA256,
        "layout": "kohya",
        "kind": "LoRA",
        "fits": "flux1-dev",
        "ranks": {"32": 80},
        "modules": {"transformer": 80},
        "norms": {"transformer": 12.5},
        "metadata": {"ss_output_name": "demo"},
        "notes": [],
        "card": "# demo",
    }
)
FINDINGS: Examples = MappingProxyType(
    {
        "findings": [{"level": "ok", "what": "Python 3.11.2", "remedy": ""}],
        "plan": "full: everything on the device, 0.4 GiB",
        "packages": {"torch": "2.13.0"},
    }
)
META: Examples = MappingProxyType(
    {
        "backend": "full",
        "variant": "full",
        "base": "models/mini-sdxl",
        "variant_reason": "full is loaded",
        "scheduler": "euler",
        "steps": 25,
        "cfg": 5.0,
        "width": 128,
        "height": 128,
        "batch_size": 1,
        "timings": {"queue": 0.0, "lora": 0.001, "generate": 1.9},
        "peak_memory_mb": 912.4,
        "loras": [{"path": "lora/demo/demo.safetensors", "weight": 0.8, "sha256": _SHA256, "trigger": None}],
        "learned_tokens": [],
    }
)
GENERATED: Examples = MappingProxyType(
    {"images": [{"seed": 7, "b64_json": "iVBORw0KGgo…", "url": None, "path": None}], "meta": META, "warnings": []}
)
JOB_RUNNING: Examples = MappingProxyType(
    {
        "id": JOB_ID,
        "state": "running",
        "position": 0,
        "progress": 0.4,
        "preview": "data:image/png;base64,iVBORw0KGgo…",
        "eta_s": 1.2,
        "images": [],
        "meta": None,
        "warnings": [],
        "error": None,
    }
)
JOB_DONE: Examples = MappingProxyType(
    {
        **JOB_RUNNING,
        "state": "done",
        "position": None,
        "progress": 1.0,
        "preview": None,
        "eta_s": None,
        "images": [{"id": IMAGE_ID, "seed": 7, "url": f"/images/{IMAGE_ID}"}],
        "meta": META,
    }
)
MODELS: Examples = MappingProxyType(
    {
        "base": "models/mini-sdxl",
        "base_sha256": _SHA256,
        "family": "sdxl",
        "backends": ["full", "turbo"],
        "resolution": 128,
        "loras": ["lora/demo/demo.safetensors"],
        "lora_ids": ["demo"],
        "verdicts": {
            "lora/demo/demo.safetensors": {
                "schema_version": 1,
                "protocol_version": 3,
                "outcome": "recommended",
                "reason": "the smallest scale that keeps 90% of the best gain and passes every guard",
                "adapter": "demo",
                "adapter_sha256": _SHA256,
                "base_sha256": _SHA256,
                "lora_scale": 0.8,
                "metric": "similarity",
                "extractor": "mini-clip",
                "effect": {"mean": 0.14, "low": 0.08, "high": 0.2, "prompts": 8},
                "share_of_gap": 0.7,
            }
        },
        "lora_loaded": False,
        "lora_path": None,
        "lora_scale": 0.8,
        "device": "cpu",
        "precision": "fp32",
    }
)
PRESETS: Examples = MappingProxyType(
    {
        "presets": {
            "mini": {
                "purpose": "the miniature base, with the steps and guidance it is graded with",
                "base": "mini-sdxl",
                "vae": None,
                "variant": "auto",
                "scheduler": "euler",
                "steps": 25,
                "cfg": 5.0,
                "width": None,
                "height": None,
                "prompt": "a photo of {prompt}",
                "negative_prompt": None,
                "prompt_parser": None,
                "loras": [{"ref": "models/lora/demo", "weight": 0.8, "triggers": ["zbadge"]}],
                "is_here": True,
            }
        }
    }
)
CAPABILITIES: Examples = MappingProxyType(
    {
        "variants": {
            "full": {
                "base": "mini-sdxl",
                "is_loaded": True,
                "steps": [1, 150],
                "default_steps": 25,
                "cfg": [0.0, 30.0],
                "default_cfg": 5.0,
            }
        },
        "schedulers": ["euler", "ddim"],
        "prompt_parsers": ["compel", "lpw", "plain"],
        "output_formats": ["png", "jpeg", "webp"],
        "max_batch": 16,
        "max_loras": 8,
        "size": [64, 2048],
        "size_multiple": 8,
    }
)
INSPECTED: Examples = MappingProxyType(
    {
        "program": "zthumb",
        "parameters": {
            "prompt": "a photo of a red star",
            "negative_prompt": None,
            "seed": 7,
            "steps": 25,
            "guidance_scale": 5.0,
            "scheduler": "euler",
            "variant": "full",
            "loras": [],
            "base_sha256": _SHA256,
        },
    }
)
OPENAI: Examples = MappingProxyType(
    {
        "created": 1790000000,
        "data": [{"b64_json": "iVBORw0KGgo…", "url": None, "seed": 7}],
        "output_format": "png",
        "size": "128x128",
        "meta": META,
        "warnings": [],
    }
)
OPENAI_MODELS: Examples = MappingProxyType(
    {"object": "list", "data": [{"id": "mini-sdxl", "object": "model", "created": 0, "owned_by": "zthumb"}]}
)
IMAGE_URL: Examples = MappingProxyType(
    {
        "image_url": "data:image/png;base64,iVBORw0KGgo…",
        "model": "models/mini-sdxl",
        "width": 128,
        "height": 128,
        "seed": 7,
        "num_inference_steps": 25,
    }
)
A1111_TXT2IMG: Examples = MappingProxyType(
    {"images": ["iVBORw0KGgo…"], "parameters": {"prompt": "a photo of a red star"}, "info": '{"seed": 7, "warnings": []}'}
)
A1111_PROGRESS: Examples = MappingProxyType(
    {
        "progress": 0.4,
        "eta_relative": 1.2,
        "state": {"job": "", "job_count": 1, "sampling_step": 8, "sampling_steps": 20},
        "current_image": None,
        "textinfo": None,
    }
)
A1111_OPTIONS: Examples = MappingProxyType({"sd_model_checkpoint": "mini-sdxl [0c5c0d1f2e]", "samples_format": "png"})
A1111_MODELS = [
    {
        "title": "mini-sdxl [0c5c0d1f2e]",
        "model_name": "mini-sdxl",
        "hash": "0c5c0d1f2e",
        "sha256": f"0c5c0d1f2e{54 * '0'}",
        "filename": "models/mini-sdxl",
        "config": None,
    }
]
A1111_LORAS = [{"name": "zbadge", "alias": "zbadge", "path": "models/lora/zbadge/zbadge.safetensors", "metadata": {}}]
JOB_ENTRY: Examples = MappingProxyType(
    {
        "id": JOB_ID,
        "state": "done",
        "created": 1764270000.0,
        "position": None,
        "progress": 1.0,
        "eta_s": None,
        "preview": None,
        "images": [{"id": IMAGE_ID, "seed": "7", "path": f"/images/{IMAGE_ID}"}],
        "request": {"prompt": "a photo of a red star", "seed": "7"},
        "warnings": [],
        "error": None,
    }
)
JOBS_PAGE: Examples = MappingProxyType({"jobs": [JOB_ENTRY], "next": None})
GALLERY_PAGE: Examples = MappingProxyType(
    {
        "images": [
            {
                "id": IMAGE_ID,
                "job": JOB_ID,
                "seed": "7",
                "path": f"/images/{IMAGE_ID}",
                "prompt": "a photo of a red star",
                "model": "models/mini-sdxl",
                "adapters": [_SHA256],
                "width": 128,
                "height": 128,
                "rating": 4,
                "created": 1764270000.0,
            }
        ],
        "models": ["models/mini-sdxl"],
        "adapters": [{"sha256": _SHA256, "path": "lora/demo/demo.safetensors"}],
        "next": None,
    }
)
ADAPTERS: Examples = MappingProxyType(
    {
        "adapters": [
            {
                "id": "demo",
                "path": "lora/demo/demo.safetensors",
                "bytes": 1_203_400,
                "version": "3f0c2b9e6d5a4c7f",
                "trigger": "zbadge",
                "preview": "/adapters/preview?id=demo&version=17a3f0c2b9e6d5a4",
                "verdict": None,
                "sentence": None,
                "report": None,
            }
        ],
        "next": None,
    }
)
REPORTS: Examples = MappingProxyType(
    {
        "reports": [
            {
                "run": "demo",
                "sentence": "recommended at scale 0.8: identity +0.582 [+0.51, +0.65] over the base (mini-clip)",
                "outcome": "recommended",
                "adapter": "demo",
                "written": 1764270000.0,
            }
        ]
    }
)
