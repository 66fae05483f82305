"""The parameters in images of every program are read, in whichever form the images are sent."""

import base64
import html
import io
import json
import zlib
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from foundation.errors import BadInput
from zthumb.server.storage import infotext
from zthumb.server.storage.image_encoder import encode_image
from zthumb.server.storage.image_parameters import read_parameters

A1111 = (
    "a red star <lora:tiny:0.8>\nwith rays\nNegative prompt: blurry,\nugly\n"
    'Steps: 20, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5, Seed: 12345, Size: 64x96, Model: x, Note: "a, b: c"'
)
GRAPH = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 12345, "steps": 20, "cfg": 7.5, "sampler_name": "euler", "scheduler": "karras", "denoise": 1.0,
            "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 96, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a red star", "clip": ["10", 1]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
    "10": {"class_type": "LoraLoader", "inputs": {"lora_name": "tiny.safetensors", "strength_model": 0.8, "model": ["4", 0]}},
}  # fmt: skip
CONTROLLED = {
    **GRAPH,
    "3": {"class_type": "KSampler", "inputs": {**GRAPH["3"]["inputs"], "positive": ["8", 0], "negative": ["8", 1]}},
    "8": {
        "class_type": "ControlNetApplyAdvanced",
        "inputs": {"strength": 1.0, "positive": ["6", 0], "negative": ["7", 0], "control_net": ["9", 0]},
    },
    "9": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "x.safetensors"}},
}
CUSTOM = {
    **{number: node for number, node in GRAPH.items() if number != "3"},
    "1": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
    "2": {"class_type": "BasicScheduler", "inputs": {"scheduler": "karras", "steps": 20, "denoise": 1.0, "model": ["10", 0]}},
    "3": {
        "class_type": "SamplerCustomAdvanced",
        "inputs": {"noise": ["12", 0], "guider": ["11", 0], "sampler": ["1", 0], "sigmas": ["2", 0], "latent_image": ["5", 0]},
    },
    "11": {"class_type": "CFGGuider", "inputs": {"cfg": 7.5, "model": ["10", 0], "positive": ["6", 0], "negative": ["7", 0]}},
    "12": {"class_type": "RandomNoise", "inputs": {"noise_seed": 12345}},
}
INVOKE = {
    "positive_prompt": "a red star", "negative_prompt": "blurry", "seed": 12345, "steps": 20, "cfg_scale": 7.5, "width": 64,
    "height": 96, "model": {"name": "x", "hash": "…"},
}  # fmt: skip
INVOKE_2 = {"image": {"prompt": [{"prompt": "a red star", "weight": 1}], "seed": 12345, "steps": 20, "cfg_scale": 7.5}}
FOOOCUS = {
    "prompt": "a red star", "negative_prompt": "blurry", "steps": 20, "guidance_scale": 7.5, "seed": "12345",
    "resolution": "(64, 96)", "base_model": "x",
}  # fmt: skip
SWARM = {"sui_image_params": {"prompt": "a red star", "negativeprompt": "blurry", "seed": 12345, "steps": 20, "cfgscale": 7.5}}
DRAW_THINGS = {"c": "a red star", "uc": "blurry", "seed": 12345, "steps": 20, "scale": 7.5, "size": "64x96", "model": "x"}
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="r"><rdf:Description><exif:UserComment><rdf:Alt>'
    f'<rdf:li xml:lang="x-default">{html.escape(json.dumps(DRAW_THINGS))}</rdf:li>'
    "</rdf:Alt></exif:UserComment></rdf:Description></rdf:RDF></x:xmpmeta>"
)
PROGRAMS = {
    "a1111": ("parameters", A1111),
    "comfyui": ("prompt", json.dumps(GRAPH)),
    "comfyui with a control net": ("prompt", json.dumps(CONTROLLED)),
    "comfyui's custom sampling": ("prompt", json.dumps(CUSTOM)),
    "invokeai": ("invokeai_metadata", json.dumps(INVOKE)),
    "invokeai 2": ("sd-metadata", json.dumps(INVOKE_2)),
    "fooocus": ("parameters", json.dumps(FOOOCUS)),
    "swarmui": ("parameters", json.dumps(SWARM)),
    "draw things": ("XML:com.adobe.xmp", XMP),
}


def _png(chunk: str, text: str) -> bytes:
    chunks, buffer = PngInfo(), io.BytesIO()
    chunks.add_itxt(chunk, text)
    Image.new("RGB", (64, 96)).save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_parameters_of_every_program_have_the_names_of_a_request(program: str) -> None:
    image = read_parameters(_png(*PROGRAMS[program]))

    assert program.startswith(image.program)
    assert image.parameters["prompt"].startswith("a red star")
    assert {name: image.parameters[name] for name in ("seed", "steps", "cfg")} == {"seed": 12345, "steps": 20, "cfg": 7.5}
    if program not in ("invokeai 2", "swarmui"):
        assert (image.parameters["width"], image.parameters["height"]) == (64, 96)


def test_all_fields_of_a1111_are_read() -> None:
    parameters = read_parameters(_png("parameters", A1111)).parameters

    assert parameters["prompt"] == "a red star \nwith rays"
    assert parameters["negative_prompt"] == "blurry,\nugly"
    assert (parameters["scheduler"], parameters["Note"], parameters["model"]) == ("dpmpp_2m_karras", "a, b: c", "x")
    assert parameters["loras"] == [{"id": "tiny", "weight": 0.8}]


def test_loras_and_model_of_a_comfyui_graph_are_read() -> None:
    parameters = read_parameters(_png("prompt", json.dumps(GRAPH))).parameters

    assert (parameters["model"], parameters["loras"]) == ("x.safetensors", [{"id": "tiny.safetensors", "weight": 0.8}])


@pytest.mark.parametrize("output_format", ["png", "jpeg", "webp"])
def test_an_image_of_this_server_carries_a1111s_parameters_in_every_format(output_format: Any) -> None:
    written = {
        "prompt": "a réd star", "negative_prompt": None, "steps": 2, "seed": 5, "guidance_scale": 5.0, "width": 64, "height": 64,
        "scheduler": "euler_a", "base_sha256": "0" * 64,
        "loras": [{"path": "lora/tiny.safetensors", "weight": 0.8, "sha256": "f" * 64}],
    }  # fmt: skip

    data = encode_image(Image.new("RGB", (64, 64)), output_format, written)

    with Image.open(io.BytesIO(data)) as image:
        text = image.info.get("parameters")
    inspected = read_parameters(data)
    if output_format == "png":
        assert (inspected.program, inspected.parameters["prompt"]) == ("zthumb", "a réd star")
        assert text is not None
        fields = infotext.read(text)
        assert fields is not None
        assert (fields["prompt"], fields["Seed"], fields["Lora hashes"]) == (
            "a réd star <lora:tiny:0.8>",
            "5",
            "tiny: ffffffffffff",
        )
    else:
        assert (inspected.program, inspected.parameters["prompt"], inspected.parameters["seed"]) == ("a1111", "a réd star", 5)


@given(st.text(max_size=80), st.text(max_size=40), st.dictionaries(st.sampled_from(["Note", "Model"]), st.text(max_size=20)))
def test_written_infotext_is_read_back(prompt: str, negative: str, values: dict[str, str]) -> None:
    prompt, negative = (" ".join(text.split()).replace("Negative prompt:", "") for text in (prompt, negative))
    values = {"Steps": "20", **{name: value.strip() for name, value in values.items() if value.strip()}}

    fields = infotext.read(infotext.write(infotext.Parameters(prompt, negative, values)))

    assert fields is not None
    assert (fields["prompt"], fields["negative_prompt"]) == (prompt.strip(), negative.strip())
    assert all(fields[name] == value for name, value in values.items() if '"' not in value and "\\" not in value)


@given(st.binary(max_size=200), st.text(max_size=200))
def test_arbitrary_data_is_either_read_or_refused(data: bytes, text: str) -> None:
    for body in (data, _png("parameters", text), _png("prompt", text), _png("sd-metadata", text)):
        try:
            assert isinstance(read_parameters(body).parameters, dict)
        except BadInput:
            continue


@pytest.mark.slow
def test_inspect_accepts_a_file_json_and_a_form(client: TestClient) -> None:
    data = _png("parameters", A1111)
    base64_data = base64.b64encode(data).decode()

    responses = [
        client.post("/images/inspect", content=data),
        client.post("/images/inspect", json={"image": base64_data}),
        client.post("/images/inspect", json={"image": f"data:image/png;base64,{base64_data}"}),
        client.post("/images/inspect", files={"file": ("a.png", data, "image/png")}),
    ]

    assert [response.json()["parameters"]["seed"] for response in responses] == [12345] * 4
    assert client.post("/images/inspect", json={"image": 5}).status_code == 422
    assert client.post("/images/inspect", data={"x": "y"}).status_code == 422


def test_texts_are_read_without_decoding_the_pixels() -> None:
    # Given an image whose pixels would not fit into any machine's memory, with a text after them.
    buffer, chunks = io.BytesIO(), PngInfo()
    chunks.add(b"tEXt", b"parameters\0" + A1111.encode(), after_idat=True)
    Image.new("L", (1, 1)).save(buffer, format="png", pnginfo=chunks)
    data = bytearray(buffer.getvalue())
    data[16:24] = (10_000).to_bytes(4, "big") * 2
    data[29:33] = zlib.crc32(data[12:29]).to_bytes(4, "big")

    assert read_parameters(bytes(data)).parameters["steps"] == 20


def test_a_user_comment_that_is_not_text_is_ignored() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = 7
    buffer = io.BytesIO()
    Image.new("L", (1, 1)).save(buffer, format="jpeg", exif=exif)

    with pytest.raises(BadInput, match="carries no parameters"):
        read_parameters(buffer.getvalue())


@pytest.mark.parametrize("line", ["a" * 200_000, 'a:"b ' * 50_000, ":" * 200_000, f"Size: {'9' * 6000}x64"])
def test_a_line_crafted_to_slow_down_parsing_is_read_quickly(line: str) -> None:
    fields = infotext.read(f"Steps: 1, {line}, Seed: 5")

    assert fields is not None
    assert fields["Seed"] == "5"


def test_an_adapter_with_a_generic_file_name_is_named_by_its_folder() -> None:
    loras = [
        {"path": f"lora/{path}.safetensors", "weight": 1.0, "sha256": "f" * 64}
        for path in ("a/tiny", "runs/demo/pytorch_lora_weights")
    ]
    written = {
        "prompt": "a star", "negative_prompt": None, "steps": 2, "seed": 5, "guidance_scale": 5.0, "width": 64, "height": 64,
        "scheduler": "euler_a", "base_sha256": "0" * 64, "loras": loras,
    }  # fmt: skip

    with Image.open(io.BytesIO(encode_image(Image.new("RGB", (64, 64)), "png", written))) as image:
        assert image.text["parameters"].startswith("a star <lora:tiny:1> <lora:runs/demo:1>")  # type: ignore[attr-defined]
