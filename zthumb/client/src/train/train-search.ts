// What the Train page shows, as its address says it: a data set, a recipe with changed values, or a run.

import type { Values } from "./recipe-fields";

export interface TrainSearch {
  dataset?: string;
  recipe?: string;
  changes?: Values;
  /** The set of prompts of the evaluation, if they are not those of the base. */
  prompts?: string;
  run?: string;
}

function text(value: unknown): string | undefined {
  return (typeof value === "string" || typeof value === "number") && value !== "" ? String(value) : undefined;
}

export function trainFromSearch(search: Record<string, unknown>): TrainSearch {
  const dataset = text(search.dataset);
  const recipe = text(search.recipe);
  const prompts = text(search.prompts);
  const run = text(search.run);
  const { changes } = search;
  const isNested = typeof changes === "object" && changes !== null && !Array.isArray(changes);
  return {
    ...(dataset && { dataset }),
    ...(recipe && { recipe }),
    ...(isNested && Object.keys(changes).length > 0 && { changes: changes as Values }),
    ...(prompts && { prompts }),
    ...(run && { run }),
  };
}
