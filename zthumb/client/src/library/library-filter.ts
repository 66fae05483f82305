// What the library shows, as its address says it.

export interface LibraryFilter {
  text?: string;
  report?: string;
}

export function libraryFromSearch(search: Record<string, unknown>): LibraryFilter {
  const { text, report } = search;
  return {
    ...((typeof text === "string" || typeof text === "number") && text !== "" && { text: String(text) }),
    ...((typeof report === "string" || typeof report === "number") && { report: String(report) }),
  };
}
