"""One syntax for every reference to a model."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import BadInput
from zthumb.sources.reference import FORMATS, SOURCES, TYPES, Air, Hub, Local, Named, Reference, Url, parse


def _never_exists(_: Path) -> bool:
    return False


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("urn:air:sdxl:lora:civitai:1377820@1963644", Air("civitai", "1377820", "sdxl", "lora", "1963644")),
        ("air:sdxl:lora:civitai:1377820@1963644", Air("civitai", "1377820", "sdxl", "lora", "1963644")),
        ("sdxl:lora:civitai:1377820", Air("civitai", "1377820", "sdxl", "lora")),
        ("civitai:1377820@1963644", Air("civitai", "1377820", version="1963644")),
        ("lora:civitai:5", Air("civitai", "5", type="lora")),
        ("sdxl:civitai:5", Air("civitai", "5", ecosystem="sdxl")),
        (
            "urn:air:sdxl:checkpoint:civitai:1@2+345.safetensors",
            Air("civitai", "1", "sdxl", "checkpoint", "2", None, "345", "safetensors"),
        ),
        (
            "urn:air:sdxl:vae:huggingface:madebyollin/sdxl-vae-fp16-fix",
            Air("huggingface", "madebyollin/sdxl-vae-fp16-fix", "sdxl", "vae"),
        ),
        ("urn:air:sdxl:lora:civitai:1@1.5.2", Air("civitai", "1", "sdxl", "lora", "1.5.2")),
        ("urn:air:sdxl:lora:civitai:1@1.5.safetensors", Air("civitai", "1", "sdxl", "lora", "1.5", format="safetensors")),
        ("urn:air:sd1:checkpoint:civitai:1@2:unet.gguf", Air("civitai", "1", "sd1", "checkpoint", "2", "unet", None, "gguf")),
        ("stabilityai/stable-diffusion-xl-base-1.0", Hub("stabilityai/stable-diffusion-xl-base-1.0")),
        ("a/b@main:unet/model.safetensors", Hub("a/b", "main", "unet/model.safetensors")),
        ("a/b:sd_xl_base_1.0.safetensors", Hub("a/b", None, "sd_xl_base_1.0.safetensors")),
        ("https://example.org/a.safetensors?x=1", Url("https://example.org/a.safetensors?x=1")),
        ("models/mine", Local(Path("models/mine"))),
        ("./mine", Local(Path("mine"))),
        ("/data/mine.safetensors", Local(Path("/data/mine.safetensors"))),
        ("~/mine", Local(Path("~/mine"))),
        ("sdxl-base-1.0", Named("sdxl-base-1.0")),
        # As users copy and paste them.
        (" SDXL-Base-1.0\n", Named("sdxl-base-1.0")),
        ("urn:air:SDXL:LORA:Civitai:1@2", Air("civitai", "1", "sdxl", "lora", "2")),
        ("urn:air:sdxl:model:civitai:2421@43533", Air("civitai", "2421", "sdxl", "model", "43533")),
        ("https://civitai.com/models/1", Air("civitai", "1")),
        ("https://civitai.com/models/1?modelVersionId=2", Air("civitai", "1", version="2")),
        ("https://www.civitai.com/models/1/some-name?modelVersionId=2&x=y", Air("civitai", "1", version="2")),
        ("civitai.red/models/1?modelVersionId=2", Air("civitai", "1", version="2")),
        ("https://civitai.com/api/download/models/2", Air("civitai", "", version="2")),
        (
            "https://civitai.com/api/download/models/2?type=Model&format=SafeTensor&size=full&fp=fp16&fileId=7",
            Air("civitai", "", version="2", file="7", format="safetensors"),
        ),
        (
            "https://civitai.com/api/download/models/2?type=Model&size=Pruned",
            Air("civitai", "", version="2", filters=(("type", "model"), ("size", "pruned"))),
        ),
        ("https://civitai.com/api/v1/model-versions/2", Url("https://civitai.com/api/v1/model-versions/2")),
        ("https://huggingface.co/a/b", Hub("a/b")),
        ("https://huggingface.co/a/b/tree/main", Hub("a/b")),
        ("https://huggingface.co/a/b/blob/v1/unet/x%20y.safetensors?download=true", Hub("a/b", "v1", "unet/x y.safetensors")),
        ("huggingface.co/a/b/resolve/main/x.safetensors", Hub("a/b", None, "x.safetensors")),
        ("https://huggingface.co/a/b/resolve/refs%2Fpr%2F1/x%20y.safetensors", Hub("a/b", "refs/pr/1", "x y.safetensors")),
        ("https://huggingface.co/a/b/tree/refs%2Fpr%2F1", Hub("a/b", "refs/pr/1", None)),
        ("hf://a/b/c/x.safetensors", Hub("a/b", None, "c/x.safetensors")),
        ("hf://a/b@v1", Hub("a/b", "v1")),
        ("a/b/x.safetensors", Hub("a/b", None, "x.safetensors")),
    ],
)
def test_a_reference_is_parsed(text: str, reference: Reference) -> None:
    assert parse(text, _never_exists) == reference


def test_an_existing_path_is_a_path_whatever_else_it_could_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert parse("owner/name") == Hub("owner/name")
    (tmp_path / "owner" / "name").mkdir(parents=True)
    assert parse("owner/name") == Local(Path("owner/name"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names nothing"),
        ("a/b/c d?", "names nothing"),
        ("http://example.org/a", "only https"),
        ("ftp://example.org/a", "only https"),
        ("https://user:secret@example.org/a", "neither a user nor a password"),
        ("https:///a", "needs a host"),
        ("https://[::1/a", "is not a URL"),
        ("https://example.org:x/a", "is not a URL"),
        ("urn:air:sdxl:lora:nowhere:1", "is not an AIR"),
        ("urn:air:sdxl:image:civitai:1", "is not a type"),
        ("civitai:", "names nothing"),
        ("urn:air:civitai:", "is not an AIR"),
        ("hf://owner", "is not a path on the hub"),
        ("hf://owner/name/../x", "is not a path on the hub"),
        ("urn:isbn:123", "is not an AIR"),
    ],
)
def test_the_error_says_why_a_reference_is_not_valid(text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        parse(text, _never_exists)


WORD = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True)
ID = st.from_regex(r"[A-Za-z0-9_-]{1,8}(/[A-Za-z0-9_-]{1,8})?", fullmatch=True)
VERSION = st.from_regex(r"[0-9]{1,6}(\.[0-9]{1,3}){0,2}", fullmatch=True)
AIRS = st.builds(
    Air,
    st.sampled_from(SOURCES),
    ID,
    st.none() | WORD.filter(lambda word: word not in (*TYPES, *SOURCES)),
    st.none() | st.sampled_from(TYPES),
    st.none() | VERSION,
    st.none() | WORD,
    st.none() | st.from_regex(r"[0-9]{1,8}", fullmatch=True),
    st.none() | st.sampled_from(FORMATS),
)


@given(AIRS)
def test_an_air_parses_from_its_own_text(air: Air) -> None:
    assert parse(str(air), _never_exists) == air


@given(st.text(max_size=40))
def test_any_text_is_refused_or_parses_to_a_reference_that_parses_from_its_own_text(text: str) -> None:
    try:
        reference = parse(text, _never_exists)
    except BadInput:
        return
    assert isinstance(reference, Local) or parse(str(reference), _never_exists) == reference
