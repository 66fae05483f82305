// The jobs of a comparison's cells. Which job is whose stays in this browser, so that a reload goes on where it was.

import { useQueries } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, api, type JobEntry, read } from "../api/client";
import { useServer } from "../api/jobs";
import type { Cell } from "./plan";

const KEY = "zthumb-compare";
const KEPT = 2000;
const PARALLEL = 4;

type Jobs = Record<string, string>;

function stored(): Jobs {
  try {
    return JSON.parse(localStorage.getItem(KEY) ?? "{}") as Jobs;
  } catch {
    return {};
  }
}

function remember(jobs: Jobs): void {
  const entries = Object.entries({ ...stored(), ...jobs }).slice(-KEPT);
  localStorage.setItem(KEY, JSON.stringify(Object.fromEntries(entries)));
}

export interface CellState {
  state: JobEntry["state"] | "missing" | "reading";
  progress: number;
  image?: string;
  error?: string;
}

export interface Comparison {
  cells: CellState[];
  /** Ask for every cell that has no image and no job, or for all of them again. */
  start: (again?: boolean) => Promise<void>;
  refused?: string;
  isStarting: boolean;
}

export function useComparison(cells: Cell[]): Comparison {
  const { jobs } = useServer();
  const [own, setOwn] = useState<Jobs>(stored);
  const [refused, setRefused] = useState<string>();
  const [isStarting, setStarting] = useState(false);
  const ids = cells.map((cell) => own[cell.key]);
  const ended = useQueries({
    queries: ids.map((id) => ({
      queryKey: ["job", id],
      // What is still open is told by the events.
      enabled: id !== undefined && !jobs.has(id),
      queryFn: () => read(api.GET("/jobs/{job}", { params: { path: { job: id as string } } })),
      retry: (count: number, error: Error) => count < 2 && !(error instanceof ApiError && error.status === 404),
    })),
  });
  const states = cells.map((_, index): CellState => {
    const id = ids[index];
    const live = id === undefined ? undefined : jobs.get(id);
    const old = ended[index]?.data;
    if (live) {
      return {
        state: live.state,
        progress: live.progress,
        image: live.images[0]?.path,
        error: live.error ?? undefined,
      };
    }
    if (old) {
      const image = old.images[0] && `/images/${old.images[0].id}`;
      return { state: old.state, progress: old.progress, image, error: old.error ?? undefined };
    }
    const isGone = ended[index]?.error instanceof ApiError && ended[index]?.error.status === 404;
    return { state: id === undefined || isGone ? "missing" : "reading", progress: 0 };
  });

  const start = async (again = false) => {
    setRefused(undefined);
    setStarting(true);
    const wanted = cells.filter(
      (_, index) => again || ["missing", "failed", "cancelled"].includes(states[index]?.state ?? ""),
    );
    for (let first = 0; first < wanted.length; first += PARALLEL) {
      const group = wanted.slice(first, first + PARALLEL);
      const answers = await Promise.allSettled(
        group.map((cell) => read(api.POST("/jobs", { body: cell.request as never }))),
      );
      const found: Jobs = {};
      answers.forEach((answer, index) => {
        const cell = group[index];
        if (answer.status === "fulfilled" && cell) found[cell.key] = answer.value.id;
      });
      // At once: a page that is closed now goes on from here.
      remember(found);
      setOwn((before) => ({ ...before, ...found }));
      const failure = answers.find((answer) => answer.status === "rejected");
      if (failure?.status === "rejected") {
        setRefused(failure.reason instanceof Error ? failure.reason.message : String(failure.reason));
        break;
      }
    }
    setStarting(false);
  };
  return { cells: states, start, refused, isStarting };
}
