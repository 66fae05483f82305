// The curves of a training as columns for a plot.

import type { Course } from "../api/runs";

type Column = (number | null)[];

interface Interval {
  mean: number;
  low: number | null;
  high: number | null;
}

/** A validation as the training logs it. */
export interface Validation {
  step: number;
  images: number;
  loss: Interval;
  change: Interval;
  gap: number;
  strata: { timestep: number; loss: Interval; change: Interval }[];
}

export function validations(course: Course): Validation[] {
  return course.validations as unknown as Validation[];
}

/** Step, training loss, the same smoothed over `span` steps. */
export function losses(metrics: Course["metrics"], span: number): [number[], Column, Column] {
  const steps: number[] = [];
  const raw: Column = [];
  const smooth: Column = [];
  let sum = 0;
  for (const [index, values] of metrics.entries()) {
    steps.push(Number(values.step));
    raw.push(Number(values.loss));
    sum += Number(values.loss);
    if (index >= span) sum -= Number(metrics[index - span]?.loss);
    smooth.push(sum / Math.min(index + 1, span));
  }
  return [steps, raw, smooth];
}

/** Step, change from the base's loss with its interval, and the same for each range of times. */
export function changes(found: readonly Validation[]): { columns: [number[], ...Column[]]; timesteps: number[] } {
  const timesteps = found[0]?.strata.map((stratum) => stratum.timestep) ?? [];
  return {
    columns: [
      found.map((validation) => validation.step),
      found.map((validation) => validation.change.mean),
      found.map((validation) => validation.change.low),
      found.map((validation) => validation.change.high),
      ...timesteps.map((_, index) => found.map((validation) => validation.strata[index]?.change.mean ?? null)),
    ],
    timesteps,
  };
}

/** The metrics of both, without those that the second begins with again: a resumed training makes some steps anew. */
export function merged(before: Course["metrics"], next: Course["metrics"]): Course["metrics"] {
  const first = next[0]?.step;
  if (first === undefined) return before;
  return [...before.filter((values) => Number(values.step) < Number(first)), ...next];
}
