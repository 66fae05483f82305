// All runs, the newest first, and what can be done with each.

import { useMutation } from "@tanstack/react-query";
import { Button } from "react-aria-components";
import { api, read } from "../api/client";
import { forgetRun, putRun } from "../api/jobs";
import { isAtWork, type RunEntry } from "../api/runs";
import { duration } from "./duration";
import styles from "./train-page.module.css";

export function RunList({ runs, onOpen }: { runs: readonly RunEntry[]; onOpen: (name: string) => void }) {
  return (
    <section className={`panel ${styles.part}`} aria-labelledby="runs">
      <h2 id="runs">Runs</h2>
      {runs.length === 0 && <p className="quiet">There are none yet.</p>}
      <ul className={styles.runs}>
        {runs.map((run) => (
          <li key={run.name} className={styles.run}>
            <Button className={`react-aria-Button ${styles.open}`} onPress={() => onOpen(run.name)}>
              <strong>{run.name}</strong>
              <RunState run={run} />
            </Button>
            <RunActions run={run} />
          </li>
        ))}
      </ul>
    </section>
  );
}

/** How a run is going, in one line. */
export function RunState({ run }: { run: RunEntry }) {
  const isTraining = run.stage === "train" && run.step != null && run.steps != null;
  const isGood = run.verdict?.outcome === "recommended";
  const words = [run.state === "running" && run.stage ? run.stage : run.state];
  if (run.state === "running" && isTraining) {
    words.push(`step ${run.step} of ${run.steps}`);
    if (run.seconds_left != null) words.push(`${duration(run.seconds_left)} left`);
  }
  return (
    <>
      <span className={run.state === "failed" ? "fault" : "quiet"}>
        {/* What is read out is the state, and not each step. */}
        <span role="status">{words[0]}</span>
        {words.slice(1).map((word) => `, ${word}`)}
      </span>
      {run.sentence && <span className={isGood ? styles.good : "quiet"}>{run.sentence}</span>}
      {run.state === "failed" && <span className="fault">{run.message}</span>}
      {run.is_slow && (
        <span className="fault">
          Steps take {run.seconds_a_step?.toFixed(1)} s, far longer than before: is another program using the device?
        </span>
      )}
    </>
  );
}

export function RunActions({ run }: { run: RunEntry }) {
  const path = { params: { path: { name: run.name } } };
  const stop = useMutation({ mutationFn: () => read(api.POST("/runs/{name}/stop", path)), onSuccess: putRun });
  const resume = useMutation({ mutationFn: () => read(api.POST("/runs/{name}/resume", path)), onSuccess: putRun });
  const remove = useMutation({
    mutationFn: () => read(api.DELETE("/runs/{name}", path)),
    onSuccess: () => forgetRun(run.name),
  });
  const fault = stop.error ?? resume.error ?? remove.error;
  return (
    <div className="row">
      {isAtWork(run) && (
        <Button
          className="react-aria-Button small"
          aria-label={`Stop ${run.name}`}
          onPress={() => stop.mutate()}
          isDisabled={run.state === "stopping"}
        >
          {run.state === "stopping" ? "Stopping after this step…" : "Stop"}
        </Button>
      )}
      {["stopped", "failed", "interrupted"].includes(run.state) && (
        <Button className="react-aria-Button small" aria-label={`Resume ${run.name}`} onPress={() => resume.mutate()}>
          Resume
        </Button>
      )}
      {!isAtWork(run) && (
        <Button
          className="react-aria-Button small"
          aria-label={`Take ${run.name} off the list`}
          onPress={() => remove.mutate()}
        >
          Off the list
        </Button>
      )}
      {fault && (
        <span className="fault" role="alert">
          {fault.message}
        </span>
      )}
    </div>
  );
}
