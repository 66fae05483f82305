import { expect, test } from "vitest";
import { parseWithSeeds } from "./seeds";

test("a seed beyond 2**53 keeps every digit", () => {
  expect(parseWithSeeds('{"parameters": {"seed": 9223372036854775807, "steps": 20}}')).toEqual({
    parameters: { seed: "9223372036854775807", steps: 20 },
  });
});
