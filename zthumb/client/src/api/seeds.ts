// Seeds go up to 2**63, and a page's numbers end at 2**53: here they stay text.

/** Read a text in JSON; seeds stay text, since a number of the page ends at 2**53. */
export function parseWithSeeds(json: string): unknown {
  const revive = (key: string, value: unknown, context?: { source?: string }) =>
    key === "seed" && typeof value === "number" ? (context?.source ?? String(value)) : value;
  return JSON.parse(json, revive as Parameters<typeof JSON.parse>[1]);
}
