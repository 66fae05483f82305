"""The arrows between packages point one way, and nothing heavy is imported before it is needed."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGES = {"foundation", "training", "zthumb", "evaluation", "miniature", "benchmarks"}
BELOW_TRAINING = {
    "zthumb.families",
    "zthumb.diffusion",
    "zthumb.checkpoints",
    "zthumb.adapters",
    "zthumb.sources",
    "zthumb.memory",
}
ALLOWED = {
    "foundation": {"foundation"},
    "zthumb": {"zthumb", "foundation"},
    "evaluation": {"evaluation", "foundation"},
    "training": {"training", "foundation", *BELOW_TRAINING},
    "miniature": {"miniature", "training", "foundation", *BELOW_TRAINING},
}


def _imports(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.split(".")[0] in PACKAGES and name != "zthumb"}


@pytest.mark.parametrize("package", sorted(ALLOWED))
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    for path in (ROOT / package).rglob("*.py"):
        for name in _imports(path):
            assert any(name == allowed or name.startswith(allowed + ".") for allowed in ALLOWED[package]), f"{path}: {name}"


TRAINING = {
    "data": {"data"},
    "encoding": {"encoding", "data"},
    "model": {"model"},
    "validation": {"validation", "model", "encoding"},
    "memory": {"memory", "model"},
    "distillation": {"distillation"},
    "steps": {"steps", "validation", "model", "encoding", "data"},
}


@pytest.mark.parametrize("part", sorted(TRAINING))
def test_inside_training_the_arrows_follow_the_way_of_the_data(part: str) -> None:
    for path in (ROOT / "training" / part).rglob("*.py"):
        for name in _imports(path):
            if (parts := name.split("."))[0] == "training" and parts[1] != "recipe":
                assert parts[1] in TRAINING[part], f"{path}: {name}"


EVALUATION = {
    "protocol": set(),
    "collection": {"protocol"},
    "metrics": {"protocol"},
    "features": {"metrics", "protocol"},
    "statistics": {"features", "metrics", "protocol"},
    "report": {"collection", "metrics", "protocol", "statistics"},
}


@pytest.mark.parametrize("folder", sorted(EVALUATION))
def test_inside_the_evaluation_the_arrows_follow_the_way_from_images_to_a_verdict(folder: str) -> None:
    folders = {path.parent.name for path in (ROOT / "evaluation").glob("*/*.py")}
    assert folders == set(EVALUATION)
    for path in (ROOT / "evaluation" / folder).rglob("*.py"):
        for name in _imports(path):
            parts = [*name.split("."), ""]
            if parts[0] == "evaluation" and parts[1] in folders:
                assert parts[1] in EVALUATION[folder] | {folder}, f"{path}: {name}"


ZTHUMB = {
    "diffusion": set(),
    "checkpoints": set(),
    "families": {"checkpoints", "diffusion"},
    "sources": {"checkpoints", "families"},
    "generation": {"diffusion", "families"},
    "adapters": {"checkpoints", "families", "sources"},
    "memory": {"diffusion", "families", "sources"},
    "backends": {"adapters", "checkpoints", "diffusion", "families", "generation", "memory", "sources"},
    "server": {"adapters", "backends", "checkpoints", "diffusion", "families", "generation", "memory", "sources"},
    "cli": {"adapters", "backends", "checkpoints", "families", "generation", "memory", "server", "sources", "text_to_image"},
    "scripts": {"sources"},
}


def test_every_folder_of_zthumb_has_its_arrows() -> None:
    assert {path.parent.name for path in (ROOT / "zthumb").glob("*/*.py")} == set(ZTHUMB)


@pytest.mark.parametrize("folder", sorted(ZTHUMB))
def test_inside_zthumb_the_arrows_point_from_the_server_to_the_families(folder: str) -> None:
    for path in (ROOT / "zthumb" / folder).rglob("*.py"):
        for name in _imports(path):
            if (parts := name.split("."))[0] == "zthumb":
                assert parts[1] in ZTHUMB[folder] | {folder}, f"{path}: {name}"


FORBIDDEN_NAMES = {
    *(
        "Painter",
        "Sketcher",
        "Picture",
        "Studio",
        "Shelf",
        "Dispatcher",
        "Ticket",
        "Seat",
        "Orders",
        "Door",
        "Painted",
        "Skeleton",
    ),
    *("LoadedAdapters", "Course", "Eyes", "Vocabulary", "Draining", "NotKnown", "TookTooLong", "NoMemory", "Fetching"),
    *("picture", "pictures", "paint", "painted", "painting", "painter", "sketch", "lesson", "heeded", "set_aside", "whole_file"),
    *("whole_folder", "noise_levels", "empty_part", "lay_out", "goes_with", "take_off", "put_on", "weigh", "spare", "knowing"),
    *("told", "asked", "answered", "queue_room", "requests_fetch", "fetched_folder"),
}
"""Names that were left for the field's own (docs/design.md)."""


def test_no_name_of_another_language_comes_back() -> None:
    for path in (path for package in (*PACKAGES, "tests") for path in (ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = {
                getattr(node, "id", None),
                getattr(node, "name", None),
                getattr(node, "arg", None),
                getattr(node, "attr", None),
            }
            assert not (names & FORBIDDEN_NAMES), f"{path}:{getattr(node, 'lineno', 0)}: {names & FORBIDDEN_NAMES}"


FAMILY_WORDS = re.compile(
    r"(?i:pooled|time_ids|alphas_cumprod|added_cond_kwargs|text_encoder_2|lora_te\d|\bclip_[lgh]\b|\b_?unet\b|unet2d|StableDiffusion)|SDXL"
    r"|(?i:img_ids|txt_ids|guidance_embeds|double_blocks|single_blocks|t5xxl)"
)
"""What one family has and another lacks, in names and strings of code; prose may give examples."""
FAMILY_FOLDERS = {"families", "checkpoints"}
OTHER_PROGRAMS = {
    "zthumb/generation/grammar/lora_tags.py",  # <lora:name:te=1:unet=1> of A1111
    "zthumb/sources/reference.py",  # Civitai's types of files
    "zthumb/sources/civitai.py",
    "zthumb/server/storage/comfyui_graph.py",  # the inputs of ComfyUI's nodes
    "zthumb/diffusion/ddpm.py",  # DDPM's own schedule
}
"""Files about other programs' words, or about one diffusion process."""


def _family_words(code: str) -> set[str]:
    tree = ast.parse(code)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    texts: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            texts.append(node.value)
        texts += [str(value) for field in ("id", "attr", "arg", "name") if (value := getattr(node, field, None))]
    return {match[0] for text in texts for match in FAMILY_WORDS.finditer(text)}


@pytest.mark.parametrize(
    "code",
    [
        "unet = 1",
        "x = p.text_encoder_2",
        "f(time_ids=1)",
        "raise E('SDXL')",
        "def f(pooled): ...",
        "k = 'clip_l'",
        "f(txt_ids=1)",
    ],
)
def test_a_word_of_one_family_is_found(code: str) -> None:
    assert _family_words(code)


def test_what_is_true_of_one_model_family_is_said_in_its_own_file() -> None:
    for package in ("training", "zthumb", "evaluation", "foundation"):
        for path in (ROOT / package).rglob("*.py"):
            name = path.relative_to(ROOT)
            if name.parts[1] not in FAMILY_FOLDERS and name.as_posix() not in OTHER_PROGRAMS:
                words = _family_words(path.read_text(encoding="utf-8"))
                assert not words, f"{name}: {words}"


@pytest.mark.parametrize(
    "module",
    [
        "zthumb.cli",
        "training.caption_images",
        "training.prepare_dataset",
        "training.train_lora",
        "training.export_lora",
        "evaluation",
        "miniature",
    ],
)
def test_help_explains_itself_without_loading_anything_heavy(module: str) -> None:
    code = (
        "import runpy, sys\n"
        "sys.argv = ['x', '--help']\n"
        f"try: runpy.run_module({module!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "loaded = {'torch', 'diffusers', 'transformers', 'fastapi', 'peft'} & set(sys.modules)\n"
        "assert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
    assert len(done.stdout) > 200


def test_the_folder_called_datasets_is_not_taken_for_the_package_of_that_name() -> None:
    # transformers takes any folder of that name for the package, but asks only in parts that are not used here.
    code = (
        "from accelerate.utils import is_datasets_available\n"
        "assert not is_datasets_available()\n"
        "import peft, training.steps.train_step, zthumb.backends.full\n"
        "from diffusers import StableDiffusionXLPipeline\n"
        "from transformers import CLIPModel, CLIPTextModelWithProjection"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
