"""Build the CPU images and run them without a Docker engine, with Debian's buildah and chroot isolation.

Trains a tiny adapter in one image, starts the server in the other and requests an image from it, resolves the lock files of both
for CUDA, and writes the sizes and times to ``outputs/docker/check.json`` and ``docker/README.md``. Needs root, buildah and
debootstrap.
"""

import argparse
import base64
import contextlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "outputs" / "docker"
README = ROOT / "docker" / "README.md"
IMAGES = {"zthumb-server:cpu": "docker/server.Dockerfile", "zthumb-training:cpu": "training/Dockerfile.cpu"}
MAX_SERVER_BYTES = 2_500_000_000
"""Largest allowed size of the server's image."""
TINY = (
    "steps=4 batch_size=2 prior.images=4 prior.batch_size=2 prior.steps=2 checkpoint_every=2 previews.steps=2 validation.noises=1"
)
PROMPTS = {"trained": ["a red {trigger}"], "control": ["a red star"], "seeds": [1], "scales": [0, 0.8], "extractors": ["pixel"]}
REQUEST = {"prompt": "a red star on a blue background", "preset": "mini", "seed": 7, "output_format": "png"}
PORT = 18765
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
EMPTY: Mapping[str, str] = MappingProxyType({})
_READY_TIMEOUT_S = 300


class CheckFailed(Exception):
    """A check found a fault; the message says which."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks; exit code 0 passed, 1 a check failed, 2 this machine lacks root or a program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-wheels", type=Path, help="folder with the pinned CPU build of torch (default: PyTorch's index)")
    parser.add_argument("--debian", metavar="URL", help="a mirror of Debian (default: the one that apt uses here)")
    arguments = parser.parse_args(argv)
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        lacking = " and ".join(missing) or "root"
        print(f"docker_check: {lacking} is missing; it needs root and Debian's packages buildah and debootstrap", file=sys.stderr)
        return 2
    try:
        results = _run_checks(arguments.debian or configured_mirror(), arguments.torch_wheels)
    except (CheckFailed, subprocess.CalledProcessError) as error:
        print(f"docker_check: {error}", file=sys.stderr)
        return 1
    (OUT / "check.json").write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), results), encoding="utf-8")
    print(format_table(results))
    return 0


def _run_checks(mirror: str, wheels: Path | None) -> dict[str, Any]:
    OUT.mkdir(parents=True, exist_ok=True)
    debian = _prepare_base_image(mirror)  # 1. the image that FROM names
    results: dict[str, Any] = {"debian": debian, "images": {}}
    for tag, file in IMAGES.items():  # 2. the images
        seconds = _build_image(tag, file, mirror, wheels)
        results["images"][tag] = {"bytes": _size(tag), "build_s": round(seconds)}
    if (size := results["images"]["zthumb-server:cpu"]["bytes"]) > MAX_SERVER_BYTES:
        raise CheckFailed(f"the server's image has {size} bytes, more than {MAX_SERVER_BYTES}")
    results["finetune_s"] = round(_run_finetune())  # 3. images → verdict, in a container
    results |= _run_server()  # 4. a prompt → an image, in a container
    results["cuda_packages"] = {image: _resolve_lock(image) for image in ("training", "server")}  # 5. what only a GPU could run
    return results


def configured_mirror() -> str:
    """Return where apt finds Debian on this machine: the address above ``/debian``."""
    uris = _output("apt-get", "indextargets", "--format", "$(REPO_URI)", "Label: Debian").split()
    mirrors = [uri.rstrip("/").removesuffix("/debian") for uri in uris if uri.rstrip("/").endswith("/debian")]
    if not mirrors:
        raise CheckFailed("apt is not configured for Debian here; name a mirror with --debian URL")
    return mirrors[0]


def _prepare_base_image(mirror: str) -> str:
    """Make the base image of the Dockerfiles with debootstrap if it does not exist, and return the version of Debian in it."""
    name = _base_image_name()
    if subprocess.run([*_buildah(), "inspect", "--type", "image", name], capture_output=True).returncode:
        with tempfile.TemporaryDirectory() as folder:
            _run("debootstrap", "--variant=minbase", "bookworm", folder, f"{mirror}/debian")
            container = _output(*_buildah(), "from", "scratch")
            root = _output(*_buildah(), "mount", container)
            _run("cp", "-a", f"{folder}/.", root)
            shutil.rmtree(f"{root}/var/cache/apt/archives", ignore_errors=True)
            _run(*_buildah(), "umount", container)
            _run(*_buildah(), "commit", "--quiet", "--rm", container, f"docker.io/library/{name}")
    with _container(name) as container:
        version = _output(*_in_container(container), "cat", "/etc/debian_version")
    if version not in name:
        print(f"docker_check: note: the Dockerfiles name {name}, the mirror has Debian {version}", file=sys.stderr)
    return version


def _base_image_name() -> str:
    lines = (ROOT / "docker" / "server.Dockerfile").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith("FROM "))


def _build_image(tag: str, file: str, mirror: str, wheels: Path | None) -> float:
    """Build one image and return the seconds it took, downloads included."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pip = Path(folder) / "pip.conf"
        pip.write_text("[global]\ncert = /ca.crt\ntimeout = 180\ndisable-pip-version-check = true\n", encoding="utf-8")
        mounts = [f"{CERTIFICATES}:/ca.crt:ro", f"{pip}:/etc/pip.conf:ro"]
        # A mirror has only today's Debian; if the pinned versions are no longer in it, the build fails.
        build_args = {"DEBIAN": mirror, "DAY": ""}
        if wheels is not None:
            mounts.append(f"{wheels.resolve()}:/wheels:ro")
            build_args["TORCH_WHEELS"] = "/wheels"
        _run(
            *(*_buildah(), "bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--pull-never"),
            *(option for mount in mounts for option in ("--volume", mount)),
            *(option for name, value in build_args.items() for option in ("--build-arg", f"{name}={value}")),
            *("--file", file, "--tag", tag, "."),
        )
    return time.monotonic() - started


def _run_finetune() -> float:
    """Run ``make finetune_z`` with very few steps and return the seconds it took."""
    environment = {"RUN": "tiny", "SET": TINY, "PROMPTS": "/prompts.yaml"}
    started = time.monotonic()
    with _container("zthumb-training:cpu") as container, tempfile.NamedTemporaryFile("w", suffix=".yaml") as prompts:
        json.dump({**PROMPTS, "steps": 3}, prompts)
        prompts.flush()
        Path(prompts.name).chmod(0o644)
        output = _output(*_in_container(container, {prompts.name: "/prompts.yaml"}, environment), "make", "finetune_z")
    if "models/lora/tiny/tiny.safetensors" not in output or "verdict" not in output:
        raise CheckFailed(f"finetune_z ended without an adapter and a verdict:\n{output}")
    return time.monotonic() - started


def _run_server() -> dict[str, Any]:
    """Start the server, request an image, and return the seconds until it was ready and those of the image."""
    environment = {"ZTHUMB_PORT": str(PORT), "ZTHUMB_HOST": "127.0.0.1"}
    with _container("zthumb-server:cpu") as container:
        run = _in_container(container, {str(ROOT / "models"): "/app/models"}, environment)
        started = time.monotonic()
        server = subprocess.Popen([*run, *_configured_command("Entrypoint")])
        try:
            health = _configured_command("Healthcheck")
            while subprocess.run([*run, *health], capture_output=True).returncode:
                if server.poll() is not None or time.monotonic() - started > _READY_TIMEOUT_S:
                    raise CheckFailed("the server did not become ready")
            ready = time.monotonic() - started
            (OUT / "image.png").write_bytes(_request_image())
            generated = time.monotonic() - started - ready
        finally:
            _stop(server)
    return {"ready_s": round(ready, 1), "image_s": round(generated, 1)}


def _request_image() -> bytes:
    """Request an image from the server and check its size and background."""
    from PIL import Image

    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/generate", json.dumps(REQUEST).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        data = base64.b64decode(json.load(response)["images"][0]["b64_json"])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    red, _, blue = image.getpixel((3, 3))
    if image.size != (128, 128) or blue < red + 60:
        raise CheckFailed(
            f"the server's image does not match the request: size {image.size}, red and blue of the corner {(red, blue)}"
        )
    return data


def _resolve_lock(image: str) -> int:
    """Return the number of packages in the image's lock for CUDA; each must exist for the platform with a listed hash."""
    lock = ROOT / "docker" / "locks" / f"{image}-cuda.txt"
    with tempfile.TemporaryDirectory() as folder:
        _run(
            *(_venv_program("uv"), "pip", "install", "--quiet", "--dry-run", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),
            *("--target", folder, "--requirement", str(lock)),
        )
    return len(re.findall(r"^[\w.-]+==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def format_table(results: dict[str, Any]) -> str:
    """Format sizes and times as Markdown."""
    rows = [f"| {tag} | {image['bytes'] / 1e9:.2f} GB | {image['build_s']} s |" for tag, image in results["images"].items()]
    packages = " and ".join(f"{count} packages ({image})" for image, count in results["cuda_packages"].items())
    return "\n".join(
        [
            "| image | size | build time |",
            "|---|---|---|",
            *rows,
            "",
            f"On two cores, downloads included, from Debian {results['debian']} made by debootstrap, which is larger "
            f"than the slim image. `make finetune_z` with four steps in a container: {results['finetune_s']} s. The server was "
            f"ready after {results['ready_s']} s and generated an image in {results['image_s']} s. The locks for CUDA resolve: "
            f"{packages}.",
        ]
    )


def with_table(text: str, results: dict[str, Any]) -> str:
    """Return the document with a new table between its marks."""
    start, end = "<!-- docker_check -->\n", "<!-- /docker_check -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{format_table(results)}\n{end}{after}"


def _configured_command(name: str) -> list[str]:
    """Return the command that is configured as ``name`` in the server's image."""
    config = json.loads(_output(*_buildah(), "inspect", "--type", "image", "zthumb-server:cpu"))["Docker"]["config"]
    arguments: list[str] = config["Healthcheck"]["Test"][1:] if name == "Healthcheck" else config[name]
    return arguments


def _size(tag: str) -> int:
    """Return the unpacked size of the image in bytes."""
    with _container(tag) as container:
        return int(_output("du", "--summarize", "--bytes", _output(*_buildah(), "mount", container)).split()[0])


@contextlib.contextmanager
def _container(image: str) -> Iterator[str]:
    container = _output(*_buildah(), "from", "--pull-never", image)
    try:
        yield container
    finally:
        _output(*_buildah(), "rm", container)


def _in_container(container: str, mounts: Mapping[str, str] = EMPTY, environment: Mapping[str, str] = EMPTY) -> list[str]:
    """Return the start of a command that runs in the container, with files and folders of this machine mounted read-only."""
    options = [option for source, target in mounts.items() for option in ("--volume", f"{source}:{target}:ro")]
    options += [option for name, value in environment.items() for option in ("--env", f"{name}={value}")]
    return [*_buildah(), "run", "--isolation", "chroot", "--network", "host", *options, container, "--"]


def _venv_program(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def _buildah() -> list[str]:
    return ["buildah", "--storage-driver", "vfs", "--root", str(OUT / "storage"), "--runroot", str(OUT / "run")]


def _stop(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _run(*command: str) -> None:
    print("docker_check:", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def _output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
