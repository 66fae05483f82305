import { expect, test } from "vitest";
import { columns } from "./plan";
import { ballots, tally } from "./vote";

const COLUMNS = columns({ prompt: "x", adapters: ["a"], scales: [1, 2], seeds: ["1"] });

function drawn(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state * 16807) % 2147483647;
    return state / 2147483647;
  };
}

test("every pair of every row is voted on once", () => {
  const found = ballots(2, 3, drawn(7));
  const pairs = found.map(({ row, left, right }) => `${row}:${Math.min(left, right)}-${Math.max(left, right)}`);
  expect(pairs.sort()).toEqual(["0:0-1", "0:0-2", "0:1-2", "1:0-1", "1:0-2", "1:1-2"]);
});

test("sides are drawn", () => {
  const found = ballots(40, 2, drawn(3));
  const isBaseLeft = found.filter((ballot) => ballot.left === 0).length;
  expect(isBaseLeft).toBeGreaterThan(8);
  expect(isBaseLeft).toBeLessThan(32);
});

test("what was preferred is counted, whichever side it was on", () => {
  const voted = [
    { row: 0, left: 0, right: 1 },
    { row: 0, left: 1, right: 0 },
    { row: 0, left: 2, right: 0 },
  ];
  expect(tally(COLUMNS, voted, [1, -1, 0])).toEqual([
    { title: "a at 1", won: 2, of: 2 },
    { title: "a at 2", won: 0.5, of: 1 },
    { title: "base", won: 0.5, of: 3 },
  ]);
});
