// Trainings and evaluations of this server, as they go on.

import { useQuery } from "@tanstack/react-query";
import { api, read, type Schemas } from "./client";
import { useServer } from "./jobs";

export type RunEntry = Schemas["RunEntry"];
export type Course = Schemas["CourseResponse"];

export function isAtWork(run: RunEntry): boolean {
  return run.state === "running" || run.state === "stopping" || run.state === "waiting";
}

/** Whether this server trains; undefined while that is not known. */
export function useIsTrainingEnabled(): boolean | undefined {
  return useQuery({
    queryKey: ["training"],
    queryFn: () => read(api.GET("/training")),
    staleTime: Number.POSITIVE_INFINITY,
  }).data?.is_enabled;
}

/** All runs, the newest first: as they were read, and what the server has said of them since. */
export function useRuns(isEnabled: boolean): { runs: RunEntry[]; isRead: boolean; error: Error | null } {
  const { runs: live, begun } = useServer();
  const answer = useQuery({
    queryKey: ["runs", begun],
    queryFn: () => read(api.GET("/runs")),
    enabled: isEnabled,
    placeholderData: (before) => before,
  });
  const merged = new Map((answer.data?.runs ?? []).map((run) => [run.name, run]));
  for (const run of live.values()) merged.set(run.name, run);
  const runs = [...merged.values()].sort((a, b) => b.created - a.created);
  return { runs, isRead: answer.isSuccess, error: answer.error };
}
