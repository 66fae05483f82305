import { expect, test } from "vitest";
import { cells, columns, compareFromSearch, numbers, seeds } from "./plan";

const FORM = { prompt: "a star", adapters: ["a", "b"], scales: [0.4, 1], seeds: ["1", "9223372036854775807"] };

test("the base is one column, whatever there are of adapters", () => {
  expect(columns(FORM).map((column) => column.title)).toEqual(["base", "a at 0.4", "a at 1", "b at 0.4", "b at 1"]);
});

test("a cell is asked for by itself, with its seed as text", () => {
  const found = cells(FORM);
  expect(found).toHaveLength(10);
  expect(found[5]?.request).toEqual({ prompt: "a star", seed: "9223372036854775807", loras: [], deterministic: true });
  expect(new Set(found.map((cell) => cell.key)).size).toBe(10);
});

test("an adapter that was trained again, or another base, is another image", () => {
  const keys = (base: string, version: string) => cells(FORM, base, { a: version }).map((cell) => cell.key);
  const [before, after, other] = [keys("x", "1"), keys("x", "2"), keys("y", "1")];
  expect(before.filter((key) => after.includes(key))).toHaveLength(6);
  expect(before.filter((key) => other.includes(key))).toHaveLength(0);
});

test("an address without lists has the usual ones", () => {
  expect(compareFromSearch({ prompt: "x", scales: ["a"], seeds: [-1] })).toEqual({
    prompt: "x",
    adapters: [],
    scales: [0.4, 0.8, 1],
    seeds: ["1", "2"],
  });
});

test("seeds stay text", () => {
  expect(seeds("1, 9223372036854775807 -4 9223372036854775808")).toEqual(["1", "9223372036854775807"]);
});

test("numbers are read from text", () => {
  expect(numbers("0.4, 0.8;1  1 x")).toEqual([0.4, 0.8, 1]);
});
