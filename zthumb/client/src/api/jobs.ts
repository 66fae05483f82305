// The server's jobs as they go on: one stream of events for the whole page, kept in one place.

import { useSyncExternalStore } from "react";
import { address, api, type JobEntry, read } from "./client";

export type Connection = "connecting" | "open" | "lost";

interface State {
  jobs: ReadonlyMap<string, JobEntry>;
  connection: Connection;
  /** Counts up whenever a job ends with images: what lists images is read again. */
  ended: number;
}

const RETRY_MS = 1000;
const SHOWN = 50;

let state: State = { jobs: new Map(), connection: "connecting", ended: 0 };
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
  change({ jobs: merged, ended });
}

async function readAll(): Promise<void> {
  const page = await read(api.GET("/jobs", { params: { query: { limit: SHOWN } } }));
  put(page.jobs);
}

/** Follow the server, for as long as the page is open. Lost connections are taken up where they were. */
export function follow(): void {
  stream?.close();
  stream = new EventSource(address("/events"));
  stream.addEventListener("open", () => change({ connection: "open" }));
  stream.addEventListener("snapshot", () => void readAll());
  stream.addEventListener("job", (event) => put([JSON.parse(event.data) as JobEntry]));
  stream.addEventListener("error", () => {
    change({ connection: "lost" });
    // The browser tries again by itself unless it was answered with an error.
    if (stream?.readyState === EventSource.CLOSED) setTimeout(follow, RETRY_MS);
  });
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
