import { describe, expect, test } from "vitest";
import { faults, fromRequest, fromSearch, isReference, isSeed, shortName, toRequest } from "./form";

describe("the form in the address", () => {
  test("what was written is read again", () => {
    const form = { prompt: "a red star", steps: 20, seed: "9223372036854775807", loras: [{ id: "demo", weight: 0.8 }] };
    expect(fromSearch(JSON.parse(JSON.stringify(form)))).toEqual(form);
  });

  test("nonsense is left out, and a prompt of digits stays a prompt", () => {
    const search = { prompt: 7, steps: "many", seed: "-3", loras: [{ id: 4 }, null], width: Number.NaN };
    expect(fromSearch(search)).toEqual({ prompt: "7" });
  });

  test("seeds go to 2**63 - 1", () => {
    expect(isSeed("9223372036854775807")).toBe(true);
    expect(isSeed("9223372036854775808")).toBe(false);
    expect(isSeed("")).toBe(false);
  });

  test("a request has the server's names, and the seed as text", () => {
    expect(toRequest({ prompt: "x", negative: "y", schedule: "linear", seed: "9007199254740993" })).toEqual({
      prompt: "x",
      negative_prompt: "y",
      guidance_schedule: "linear",
      seed: "9007199254740993",
    });
  });

  test("an image's parameters become the form again", () => {
    const parameters = {
      prompt: "x",
      guidance_scale: 5,
      negative_prompt: null,
      seed: "4",
      loras: [],
      width: 128,
    };
    // No adapter is what was asked for, and not the server's default one.
    expect(fromRequest(parameters)).toEqual({ prompt: "x", cfg: 5, seed: "4", width: 128, loras: [] });
  });

  test("an adapter of an image is found by its hash, wherever it was moved to", () => {
    const loras = [{ path: "lora/demo/demo.safetensors", weight: 0.8, sha256: "ab12" }];
    const form = fromRequest({ prompt: "x", loras });
    expect(form.loras).toEqual([{ id: "demo", weight: 0.8, ref: "sha256:ab12" }]);
    expect(toRequest(form).loras).toEqual([{ ref: "sha256:ab12", weight: 0.8 }]);
  });

  test("what the form has no control for is asked for again as it was", () => {
    const request = {
      prompt: "x",
      prompt_parser: "compel",
      step_cache: 2,
      deterministic: true,
      isolated: false,
      loras: [{ id: "a", trigger: "zb", trigger_weight: 1 }],
    };
    const again = toRequest(fromRequest(request));
    expect(again).toEqual({ ...request, isolated: undefined });
    expect(toRequest(fromSearch(JSON.parse(JSON.stringify(fromRequest(request)))))).toEqual(again);
  });

  test("what names an adapter elsewhere is told from words", () => {
    const references = [
      "https://x.org/a.safetensors",
      "civitai:12@34",
      "urn:air:sdxl:lora:civitai:1@2",
      "owner/name:a.safetensors",
    ];
    for (const reference of references) expect(isReference(reference)).toBe(true);
    for (const words of ["demo", "a red star", "http://x.org/a"]) expect(isReference(words)).toBe(false);
    expect(shortName("https://x.org/files/my-style.safetensors")).toBe("my-style");
  });
});

describe("what the server refuses", () => {
  test("each fault is beside its field", () => {
    const { fields, other } = faults("steps: must be at most 150; negative_prompt: too long; the queue is full");
    expect(fields).toEqual({ steps: "must be at most 150", negative: "too long" });
    expect(other).toEqual(["the queue is full"]);
  });

  test("a part of a list belongs to the list", () => {
    expect(faults("loras.0.weight: must be at most 2").fields).toEqual({ loras: "must be at most 2" });
  });
});
