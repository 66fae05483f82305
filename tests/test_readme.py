"""Every command in the README is run by a test, or listed here with the reason why it is not."""

import re

from tests.conftest import ROOT

RUN_BY = {
    "make finetune_z": "tests/test_finetune.py",
    "make test": "this run itself",
    ". .venv/bin/activate": "plain shell",
    ".venv/bin/zthumb serve": "tests/zthumb/server/test_main.py",
    ".venv/bin/zthumb generate": "tests/zthumb/cli/test_generate.py",
    "curl -s localhost:8000/generate": "tests/zthumb/server/test_api.py",
    "python -m training.prepare_dataset": "tests/training/test_prepare_dataset.py",
    "python -m training.train_lora": "tests/training/test_train_lora.py",
    "python -m training.export_lora": "tests/training/test_export_lora.py",
    "zthumb serve": "tests/zthumb/server/test_main.py",
    "python scripts/eval_lora_report.py": "tests/evaluation/test_evaluate.py",
    ".venv/bin/python -m zthumb.scripts.download_models": "tests/zthumb/scripts/test_download_models.py",
    "docker compose --file docker/compose.yaml up": "tests/docker/test_images.py",  # only read: running needs an engine
    "make docker_finetune_z": "tests/docker/test_images.py",  # only read; make docker_check runs the same commands
    "zthumb reproduce": "tests/test_finetune.py",
    "python -m evaluation compare": "tests/evaluation/test_compare.py",
    "mkdir -p datasets/mine/raw": "plain shell",
    'echo "trigger: mxcat"': "tests/training/test_prepare_dataset.py",
}


def _commands() -> list[str]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in re.findall(r"^    (\S.*)$", text, flags=re.MULTILINE)]
    return [line for line in lines if not line.startswith("-d ")]


def test_every_command_of_the_readme_is_run_by_an_existing_test() -> None:
    assert len(_commands()) > 8
    for command in _commands():
        tests = [test for start, test in RUN_BY.items() if command.startswith(start)]
        assert tests, f"no test runs: {command}"
        assert all((ROOT / test).exists() for test in tests if test.startswith("tests/"))


def test_every_file_the_readme_links_to_exists() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (ROOT / target).exists(), target


def test_every_flag_in_the_stage_commands_exists() -> None:
    sources = {
        "training.prepare_dataset": "training/prepare_dataset.py",
        "training.train_lora": "training/train_lora.py",
        "training.export_lora": "training/export_lora.py",
        "scripts/eval_lora_report.py": "evaluation/main.py",
    }
    for command in _commands():
        for name, source in sources.items():
            if name in command:
                text = (ROOT / source).read_text(encoding="utf-8")
                assert all(f'"{flag}"' in text for flag in re.findall(r"--[a-z-]+", command)), command


def test_every_make_target_of_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z_]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    for command in _commands():
        if command.startswith("make "):
            assert command.split()[1] in targets
