// What the library shows, as its address says it.

export interface LibraryFilter {
  text?: string;
  report?: string;
  /** The reports that are compared: one is chosen before the other. */
  compare?: string[];
}

export function libraryFromSearch(search: Record<string, unknown>): LibraryFilter {
  const { text, report, compare } = search;
  const chosen = Array.isArray(compare) ? compare.map(String).slice(0, 2) : [];
  return {
    ...((typeof text === "string" || typeof text === "number") && text !== "" && { text: String(text) }),
    ...((typeof report === "string" || typeof report === "number") && { report: String(report) }),
    ...(chosen.length > 0 && { compare: chosen }),
  };
}
