"""Build the CPU images and run them, on a machine that has no Docker engine: Debian's buildah with chroot isolation does it.

Trains a tiny adapter in one, starts the server in the other and asks it for an image, resolves the lock files of both for CUDA,
and writes the sizes and times to ``outputs/docker/check.json`` and ``docker/README.md``. Takes root, buildah and debootstrap.
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
MOST_BYTES = 2_500_000_000
"""The server's image may be no larger."""
MIRROR = "http://deb.debian.org"
TINY = "steps=4 batch=2 prior.images=4 prior.batch=2 prior.steps=2 checkpoint_every=2 previews.steps=2 validation.noises=1"
PROMPTS = {"trained": ["a red {trigger}"], "control": ["a red star"], "seeds": [1], "scales": [0, 0.8], "extractors": ["pixel"]}
ASKED = {"prompt": "a red star on a blue background", "preset": "mini", "seed": 7, "output_format": "png"}
PORT = 18765
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
NOTHING: Mapping[str, str] = MappingProxyType({})
_READY_WITHIN_S = 300


class Failed(Exception):
    """What is not as it should be."""


def main(argv: Sequence[str] | None = None) -> int:
    """Check all of it; exit code 0 right, 1 something is not, 2 this machine lacks what it takes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--torch-wheels", type=Path, help="a folder with the pinned CPU build of torch (default: its own index)")
    arguments = parser.parse_args(argv)
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        told = " and ".join(missing) or "root"
        print(f"docker_check: {told} is missing; it takes root and Debian's packages buildah and debootstrap", file=sys.stderr)
        return 2
    try:
        found = _checked(arguments.torch_wheels)
    except (Failed, subprocess.CalledProcessError) as error:
        print(f"docker_check: {error}", file=sys.stderr)
        return 1
    (OUT / "check.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    README.write_text(with_table(README.read_text(encoding="utf-8"), found), encoding="utf-8")
    print(table(found))
    return 0


def _checked(wheels: Path | None) -> dict[str, Any]:
    OUT.mkdir(parents=True, exist_ok=True)
    debian = _base_image()  # 1. what FROM names
    found: dict[str, Any] = {"debian": debian, "images": {}}
    for tag, file in IMAGES.items():  # 2. the images
        seconds = _built(tag, file, wheels)
        found["images"][tag] = {"bytes": _size(tag), "build_s": round(seconds)}
    if (size := found["images"]["zthumb-server:cpu"]["bytes"]) > MOST_BYTES:
        raise Failed(f"the server's image has {size} bytes, more than {MOST_BYTES}")
    found["finetune_s"] = round(_trained())  # 3. images → verdict, inside
    found |= _served()  # 4. a prompt → an image, inside
    found["cuda_packages"] = {image: _resolved(image) for image in ("training", "server")}  # 5. what only a GPU could run
    return found


def _base_image() -> str:
    """The image that the files begin from, made by debootstrap unless it is there; the version of Debian in it."""
    name = _named_base()
    if subprocess.run([*_buildah(), "inspect", "--type", "image", name], capture_output=True).returncode:
        with tempfile.TemporaryDirectory() as folder:
            _run("debootstrap", "--variant=minbase", "bookworm", folder, f"{MIRROR}/debian")
            container = _told(*_buildah(), "from", "scratch")
            mounted = _told(*_buildah(), "mount", container)
            _run("cp", "-a", f"{folder}/.", mounted)
            shutil.rmtree(f"{mounted}/var/cache/apt/archives", ignore_errors=True)
            _run(*_buildah(), "umount", container)
            _run(*_buildah(), "commit", "--quiet", "--rm", container, f"docker.io/library/{name}")
    with _container(name) as container:
        version = _told(*_inside(container), "cat", "/etc/debian_version")
    if version not in name:
        print(f"docker_check: note: {name} is named and the mirror has Debian {version}", file=sys.stderr)
    return version


def _named_base() -> str:
    lines = (ROOT / "docker" / "server.Dockerfile").read_text(encoding="utf-8").splitlines()
    return next(line.split()[1] for line in lines if line.startswith("FROM "))


def _built(tag: str, file: str, wheels: Path | None) -> float:
    """Build one image and return how long it took, downloads included."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        pip = Path(folder) / "pip.conf"
        pip.write_text("[global]\ncert = /ca.crt\ntimeout = 180\ndisable-pip-version-check = true\n", encoding="utf-8")
        mounts = [f"{CERTIFICATES}:/ca.crt:ro", f"{pip}:/etc/pip.conf:ro"]
        # A mirror has Debian as it is today; the versions are the same or the build fails.
        values = {"DEBIAN": MIRROR, "DAY": ""}
        if wheels is not None:
            mounts.append(f"{wheels.resolve()}:/wheels:ro")
            values["TORCH_WHEELS"] = "/wheels"
        _run(
            *(*_buildah(), "bud", "--format", "docker", "--isolation", "chroot", "--network", "host", "--pull-never"),
            *(part for mount in mounts for part in ("--volume", mount)),
            *(part for name, value in values.items() for part in ("--build-arg", f"{name}={value}")),
            *("--file", file, "--tag", tag, "."),
        )
    return time.monotonic() - began


def _trained() -> float:
    """Run ``make finetune_z`` with very few steps and return how long it took."""
    environment = {"RUN": "tiny", "SET": TINY, "PROMPTS": "/prompts.yaml"}
    began = time.monotonic()
    with _container("zthumb-training:cpu") as container, tempfile.NamedTemporaryFile("w", suffix=".yaml") as prompts:
        json.dump({**PROMPTS, "steps": 3}, prompts)
        prompts.flush()
        Path(prompts.name).chmod(0o644)
        told = _told(*_inside(container, {prompts.name: "/prompts.yaml"}, environment), "make", "finetune_z")
    if "models/lora/tiny/tiny.safetensors" not in told or "verdict" not in told:
        raise Failed(f"finetune_z ended without an adapter and a verdict:\n{told}")
    return time.monotonic() - began


def _served() -> dict[str, Any]:
    """Start the server and ask it for an image; seconds until it was ready, and of the image."""
    environment = {"ZTHUMB_PORT": str(PORT), "ZTHUMB_HOST": "127.0.0.1"}
    with _container("zthumb-server:cpu") as container:
        run = _inside(container, {str(ROOT / "models"): "/app/models"}, environment)
        began = time.monotonic()
        server = subprocess.Popen([*run, *_configured("Entrypoint")])
        try:
            health = _configured("Healthcheck")
            while subprocess.run([*run, *health], capture_output=True).returncode:
                if server.poll() is not None or time.monotonic() - began > _READY_WITHIN_S:
                    raise Failed("the server did not become ready")
            ready = time.monotonic() - began
            (OUT / "image.png").write_bytes(_image())
            generated = time.monotonic() - began - ready
        finally:
            _end(server)
    return {"ready_s": round(ready, 1), "image_s": round(generated, 1)}


def _image() -> bytes:
    """An image of the server, which must show what it was asked for."""
    from PIL import Image

    request = urllib.request.Request(
        f"http://127.0.0.1:{PORT}/generate", json.dumps(ASKED).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        data = base64.b64decode(json.load(answer)["images"][0]["b64_json"])
    image = Image.open(io.BytesIO(data)).convert("RGB")
    red, _, blue = image.getpixel((3, 3))
    if image.size != (128, 128) or blue < red + 60:
        raise Failed(f"the server's image is not what was asked for: {image.size}, the corner is {(red, blue)}")
    return data


def _resolved(image: str) -> int:
    """How many packages the image's lock for CUDA has; every one must be there for this platform, with one of its hashes."""
    lock = ROOT / "docker" / "locks" / f"{image}-cuda.txt"
    with tempfile.TemporaryDirectory() as folder:
        _run(
            *(_beside("uv"), "pip", "install", "--quiet", "--dry-run", "--no-deps", "--require-hashes"),
            *("--only-binary", ":all:", "--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_28"),
            *("--target", folder, "--requirement", str(lock)),
        )
    return len(re.findall(r"^[\w.-]+==", lock.read_text(encoding="utf-8"), flags=re.MULTILINE))


def table(found: dict[str, Any]) -> str:
    """Sizes and times, as Markdown."""
    rows = [f"| {tag} | {told['bytes'] / 1e9:.2f} GB | {told['build_s']} s |" for tag, told in found["images"].items()]
    packages = " and ".join(f"{count} packages ({image})" for image, count in found["cuda_packages"].items())
    return "\n".join(
        [
            "| image | size | built in |",
            "|---|---|---|",
            *rows,
            "",
            f"On two cores, downloads included, from Debian {found['debian']} made by debootstrap, which is larger "
            f"than the slim image. `make finetune_z` with four steps inside: {found['finetune_s']} s. The server was ready after "
            f"{found['ready_s']} s and generated in {found['image_s']} s. The locks for CUDA resolve: {packages}.",
        ]
    )


def with_table(text: str, found: dict[str, Any]) -> str:
    """The document with a new table between its marks."""
    start, end = "<!-- docker_check -->\n", "<!-- /docker_check -->"
    before, _, rest = text.partition(start)
    _, _, after = rest.partition(end)
    return f"{before}{start}{table(found)}\n{end}{after}"


def _configured(name: str) -> list[str]:
    """The command that the server's image has under that name."""
    image = json.loads(_told(*_buildah(), "inspect", "--type", "image", "zthumb-server:cpu"))["Docker"]["config"]
    found: list[str] = image["Healthcheck"]["Test"][1:] if name == "Healthcheck" else image[name]
    return found


def _size(tag: str) -> int:
    """What the image takes on a disk, unpacked."""
    with _container(tag) as container:
        return int(_told("du", "--summarize", "--bytes", _told(*_buildah(), "mount", container)).split()[0])


@contextlib.contextmanager
def _container(image: str) -> Iterator[str]:
    container = _told(*_buildah(), "from", "--pull-never", image)
    try:
        yield container
    finally:
        _told(*_buildah(), "rm", container)


def _inside(container: str, mounts: Mapping[str, str] = NOTHING, environment: Mapping[str, str] = NOTHING) -> list[str]:
    """How a command inside the container begins, with files and folders of this machine mounted for reading."""
    options = [part for here, there in mounts.items() for part in ("--volume", f"{here}:{there}:ro")]
    options += [part for name, value in environment.items() for part in ("--env", f"{name}={value}")]
    return [*_buildah(), "run", "--isolation", "chroot", "--network", "host", *options, container, "--"]


def _beside(program: str) -> str:
    return str(Path(sys.executable).with_name(program))


def _buildah() -> list[str]:
    return ["buildah", "--storage-driver", "vfs", "--root", str(OUT / "storage"), "--runroot", str(OUT / "run")]


def _end(server: "subprocess.Popen[bytes]") -> None:
    server.terminate()
    try:
        server.wait(timeout=60)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _run(*command: str) -> None:
    print("docker_check:", *command, flush=True)
    subprocess.run(command, cwd=ROOT, check=True)


def _told(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
