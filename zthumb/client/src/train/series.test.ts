import { describe, expect, it } from "vitest";
import { duration } from "./duration";
import { changes, losses, merged, type Validation } from "./series";

const interval = (mean: number) => ({ mean, low: mean - 1, high: mean + 1 });
const validation = (step: number, mean: number): Validation => ({
  step,
  images: 2,
  loss: interval(3),
  change: interval(mean),
  gap: 0,
  strata: [
    { timestep: 100, loss: interval(3), change: interval(mean - 5) },
    { timestep: 900, loss: interval(3), change: interval(mean + 5) },
  ],
});

describe("curves", () => {
  it("show the training loss and its mean over the last steps", () => {
    const metrics = [4, 2, 6, 8].map((loss, index) => ({ step: index + 1, loss }));
    expect(losses(metrics, 2)).toEqual([
      [1, 2, 3, 4],
      [4, 2, 6, 8],
      [4, 3, 4, 7],
    ]);
  });

  it("show the held-out change with its interval, then each range of times", () => {
    const { columns, timesteps } = changes([validation(0, 0), validation(100, -2)]);
    expect(timesteps).toEqual([100, 900]);
    expect(columns).toEqual([
      [0, 100],
      [0, -2],
      [-1, -3],
      [1, -1],
      [-5, -7],
      [5, 3],
    ]);
  });

  it("take the steps that a resumed training made anew from it", () => {
    const step = (number: number, loss: number) => ({ step: number, loss });
    expect(merged([step(1, 1), step(2, 1), step(3, 1)], [step(2, 7), step(3, 7)])).toEqual([
      step(1, 1),
      step(2, 7),
      step(3, 7),
    ]);
    expect(merged([step(1, 1)], [])).toEqual([step(1, 1)]);
  });
});

describe("a duration", () => {
  it("is as exact as one cares", () => {
    expect([0.2, 45, 200, 5400, 9000].map(duration)).toEqual(["1 s", "45 s", "3 min", "1 h 30 min", "2 h 30 min"]);
  });
});
