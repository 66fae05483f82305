// Which images the gallery lists, as its address says it.

export interface GalleryFilter {
  text?: string;
  adapter?: string;
  model?: string;
  rating?: number;
}

/** Read the filter from an address; what is not understood is left out. */
export function filterFromSearch(search: Record<string, unknown>): GalleryFilter {
  const { text, adapter, model, rating } = search;
  return {
    ...((typeof text === "string" || typeof text === "number") && text !== "" && { text: String(text) }),
    ...(typeof adapter === "string" && /^[0-9a-f]{1,64}$/.test(adapter) && { adapter }),
    ...(typeof model === "string" && model !== "" && { model }),
    ...(typeof rating === "number" && rating >= 1 && rating <= 5 && { rating }),
  };
}
