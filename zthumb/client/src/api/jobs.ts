// The server's jobs as they go on: one stream of events for the whole page, kept in one place.

import { useSyncExternalStore } from "react";
import { address, api, type JobEntry, read, type Schemas } from "./client";

export type Connection = "connecting" | "open" | "lost";

interface State {
  jobs: ReadonlyMap<string, JobEntry>;
  connection: Connection;
  /** Counts up whenever a job ends with images: what lists images is read again. */
  ended: number;
  /** Runs that changed since the connection began. */
  runs: ReadonlyMap<string, Schemas["RunEntry"]>;
  /** Counts up whenever the connection begins again: what was read before may be old. */
  begun: number;
}

const RETRY_MS = 1000;
const SHOWN = 50;
/** How many jobs a page holds. */
const KEPT = 600;

let state: State = { jobs: new Map(), connection: "connecting", ended: 0, runs: new Map(), begun: 0 };
const listeners = new Set<() => void>();
let stream: EventSource | undefined;

function change(next: Partial<State>): void {
  state = { ...state, ...next };
  for (const listener of listeners) listener();
}

function put(jobs: JobEntry[]): void {
  const merged = new Map(state.jobs);
  let ended = state.ended;
  for (const job of jobs) {
    if (job.state === "done" && merged.get(job.id)?.state !== "done") ended += 1;
    merged.set(job.id, job);
  }
  change({ jobs: pruned(merged), ended });
}

/** Open jobs, and of those that ended the newest. */
function pruned(jobs: Map<string, JobEntry>): Map<string, JobEntry> {
  if (jobs.size <= KEPT) return jobs;
  const ended = newestFirst(jobs).filter((job) => !isOpen(job));
  for (const job of ended.slice(KEPT / 2)) jobs.delete(job.id);
  return jobs;
}

/** Begin again with what is open now. What was open before and is not any more is read anew by whoever shows it. */
async function begin(open: JobEntry[]): Promise<void> {
  const ids = new Set(open.map((job) => job.id));
  change({
    jobs: new Map([...state.jobs].filter(([id, job]) => !isOpen(job) || ids.has(id))),
    runs: new Map(),
    begun: state.begun + 1,
  });
  put(open);
  try {
    put((await read(api.GET("/jobs", { params: { query: { limit: SHOWN } } }))).jobs);
  } catch {
    // The connection was lost again: the next one begins again too.
  }
}

/** Follow the server, for as long as the page is open. Lost connections are taken up where they were. */
export function follow(): void {
  stream?.close();
  stream = new EventSource(address("/events"));
  stream.addEventListener("open", () => change({ connection: "open" }));
  stream.addEventListener("snapshot", (event) => void begin((JSON.parse(event.data) as { jobs: JobEntry[] }).jobs));
  stream.addEventListener("job", (event) => put([JSON.parse(event.data) as JobEntry]));
  stream.addEventListener("run", (event) => putRun(JSON.parse(event.data) as Schemas["RunEntry"]));
  stream.addEventListener("error", () => {
    change({ connection: "lost" });
    // The browser tries again by itself unless it was answered with an error.
    if (stream?.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  });
}

/** Keep what is known of a run. */
export function putRun(run: Schemas["RunEntry"]): void {
  change({ runs: new Map(state.runs).set(run.name, run) });
}

/** Take a run off the list. */
export function forgetRun(name: string): void {
  const runs = new Map(state.runs);
  runs.delete(name);
  change({ runs, begun: state.begun + 1 });
}

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useServer(): State {
  return useSyncExternalStore(subscribe, () => state);
}

/** All jobs that are known, the newest first. */
export function newestFirst(jobs: ReadonlyMap<string, JobEntry>): JobEntry[] {
  return [...jobs.values()].sort((a, b) => b.created - a.created);
}

export function isOpen(job: JobEntry): boolean {
  return job.state === "queued" || job.state === "running";
}
