// The adapters of this server, with what was found out about them on the base that it serves.

import { useQuery } from "@tanstack/react-query";
import { ApiError, address, api, read, type Schemas } from "./client";

const PAGE = 500;

export type AdapterEntry = Schemas["AdapterEntry"];

export interface Adapters {
  found: readonly AdapterEntry[];
  ids: string[];
  /** By id; none where the evaluation was on another base, which says nothing here. */
  verdicts: Record<string, Schemas["Verdict"]>;
  /** By id what changes when the adapter's file does. */
  versions: Record<string, string>;
  /** The hash of the base. */
  base: string | undefined;
  /** Whether all of this is known. */
  isRead: boolean;
}

/** All adapters, which are read page by page. */
export const ADAPTERS = { queryKey: ["adapters"], queryFn: readAll };

async function readAll(): Promise<AdapterEntry[]> {
  const found: AdapterEntry[] = [];
  let after: string | undefined;
  do {
    const page = await read(api.GET("/adapters", { params: { query: { after, limit: PAGE } } }));
    found.push(...page.adapters);
    after = page.next ?? undefined;
  } while (after !== undefined);
  return found;
}

/** Send an adapter's file to the server; its id there. */
export async function addAdapter(file: File): Promise<string> {
  const answer = await fetch(address(`/adapters/${encodeURIComponent(file.name)}`), { method: "PUT", body: file });
  const body = (await answer.json()) as { id?: string; detail?: string };
  if (!answer.ok || !body.id) throw new ApiError(answer.status, body.detail ?? `${file.name}: status ${answer.status}`);
  return body.id;
}

export function isAdapterFile(file: File): boolean {
  return file.name.toLowerCase().endsWith(".safetensors");
}

export function useAdapters(): Adapters {
  const base = useQuery({ queryKey: ["models"], queryFn: () => read(api.GET("/models")) }).data?.base_sha256;
  const answer = useQuery(ADAPTERS);
  const found = answer.data ?? [];
  const judged = found.flatMap(({ id, verdict }) =>
    verdict && verdict.base_sha256 === base ? [[id, verdict] as const] : [],
  );
  return {
    found,
    ids: found.map((adapter) => adapter.id),
    verdicts: Object.fromEntries(judged),
    versions: Object.fromEntries(found.map((adapter) => [adapter.id, adapter.version])),
    base,
    isRead: base !== undefined && answer.isSuccess,
  };
}
