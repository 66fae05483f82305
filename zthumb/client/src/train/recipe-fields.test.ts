import { describe, expect, it } from "vitest";
import { assignments, at, count, groups, parseLoosely, withChange } from "./recipe-fields";

const SCHEMA = {
  description: "A recipe.\n\n``steps`` are steps\nof training.",
  properties: {
    steps: { type: "integer", minimum: 1 },
    memory: { anyOf: [{ type: "string" }, { type: "null" }] },
    shift: { anyOf: [{ type: "number" }, { const: "resolution", type: "string" }] },
    precision: { enum: ["fp32", "bf16"], type: "string" },
    adapter: { $ref: "#/$defs/Adapter" },
  },
  $defs: {
    Adapter: {
      description: "The LoRA.",
      properties: {
        rank: { type: "integer", maximum: 256 },
        use_dora: { type: "boolean" },
        prompts: { type: "array", items: { type: "string" } },
      },
    },
  },
};

describe("the fields of a schema", () => {
  const [run, adapter] = groups(SCHEMA);

  it("have the control of their type and its limits", () => {
    expect(run?.fields.map((field) => field.kind)).toEqual(["integer", "text", "json", "choice"]);
    expect(run?.fields[0]?.min).toBe(1);
    expect(run?.fields[1]?.isOptional).toBe(true);
    expect(run?.fields[3]?.options).toEqual(["fp32", "bf16"]);
  });

  it("are grouped as the recipe is, with what the training says of each group", () => {
    expect(adapter?.name).toBe("adapter");
    expect(adapter?.description).toBe("The LoRA.");
    expect(adapter?.fields.map((field) => [field.path.join("."), field.kind])).toEqual([
      ["adapter.rank", "integer"],
      ["adapter.use_dora", "switch"],
      ["adapter.prompts", "lines"],
    ]);
    expect(run?.description).toBe("A recipe.\n\nsteps are steps of training.");
  });
});

describe("changes", () => {
  const recipe = { steps: 400, adapter: { rank: 32, alpha: 32 } };

  it("hold what differs from the recipe, and nothing else", () => {
    const once = withChange({}, recipe, ["adapter", "rank"], 8);
    expect(once).toEqual({ adapter: { rank: 8 } });
    const twice = withChange(once, recipe, ["steps"], 20);
    expect(count(twice)).toBe(2);
    // When a value is set back to the recipe's
    expect(withChange(twice, recipe, ["adapter", "rank"], 32)).toEqual({ steps: 20 });
  });

  it("are shown as a command line has them", () => {
    expect(assignments({ steps: 20, adapter: { rank: 8, from: "a" } })).toEqual([
      "steps=20",
      "adapter.rank=8",
      'adapter.from="a"',
    ]);
  });

  it("are read where they are", () => {
    expect(at({ adapter: { rank: 8 } }, ["adapter", "rank"])).toBe(8);
    expect(at({ adapter: 3 }, ["adapter", "rank"])).toBeUndefined();
  });
});

describe("a value of no single kind", () => {
  it("is a number, a list or a word", () => {
    expect(parseLoosely("1.15")).toBe(1.15);
    expect(parseLoosely("[0.9, 0.99]")).toEqual([0.9, 0.99]);
    expect(parseLoosely(" resolution ")).toBe("resolution");
    expect(parseLoosely("")).toBeNull();
  });
});
