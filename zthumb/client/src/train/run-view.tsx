// One run: its verdict, held-out loss with intervals first and the training loss behind it, previews by step, the log.

import { Link } from "@tanstack/react-router";
import { lazy, Suspense, useEffect, useMemo, useRef, useState } from "react";
import { Button } from "react-aria-components";
import { address, api, read } from "../api/client";
import { type Course, isAtWork, type RunEntry } from "../api/runs";
import { Facts } from "../components/facts";
import { assignments, count, type Values } from "./recipe-fields";
import { RunActions, RunState } from "./run-list";
import { changes, losses, merged, type Validation, validations } from "./series";
import styles from "./train-page.module.css";

const Plot = lazy(() => import("./plot").then((module) => ({ default: module.Plot })));
const SMOOTHED_OVER = 25;
const EMPTY: Course = { metrics: [], validations: [], previews: [], log: [] };

/** The course of a run; of a long training only the steps are read that are new. */
function useCourse(run: RunEntry): { course: Course; error: Error | null } {
  const [course, setCourse] = useState(EMPTY);
  const [error, setError] = useState<Error | null>(null);
  const shown = useRef(EMPTY);
  const latest = useRef(run);
  const isReading = useRef(false);
  const news = newsOf(run);
  // Read again whenever the server has news of the run, but never twice at once.
  // biome-ignore lint/correctness/useExhaustiveDependencies: the run is another object with every event
  useEffect(() => {
    latest.current = run;
    if (isReading.current) return;
    const readOn = async () => {
      const asked = latest.current;
      const last = Number(shown.current.metrics.at(-1)?.step ?? 0);
      // A training that starts over has other first steps.
      const after = asked.step == null || asked.step < last ? 0 : Math.max(0, last - 1);
      const path = { name: asked.name };
      const found = await read(api.GET("/runs/{name}/course", { params: { path, query: { after } } }));
      shown.current = { ...found, metrics: after === 0 ? found.metrics : merged(shown.current.metrics, found.metrics) };
      setCourse(shown.current);
      setError(null);
      if (newsOf(latest.current) !== newsOf(asked)) await readOn();
    };
    isReading.current = true;
    readOn()
      .catch(setError)
      .finally(() => {
        isReading.current = false;
      });
  }, [news]);
  return { course, error };
}

function newsOf(run: RunEntry): string {
  return [run.name, run.state, run.stage, run.step].join();
}

export function RunView({ run, onClose }: { run: RunEntry; onClose: () => void }) {
  const { course, error } = useCourse(run);
  const found = validations(course);
  return (
    <div className={styles.view}>
      <div className="row">
        <Button className="react-aria-Button small" onPress={onClose}>
          All runs
        </Button>
        <h2>{run.name}</h2>
        <RunActions run={run} />
      </div>
      <section className={`panel ${styles.part}`} aria-label="State">
        <div className={styles.state}>
          <RunState run={run} />
          {isAtWork(run) && run.message && <code className={styles.message}>{run.message}</code>}
        </div>
        {isAtWork(run) && run.step != null && run.steps != null && (
          <progress value={run.step} max={run.steps} aria-label="Steps of the training" />
        )}
        <Facts facts={facts(run)} />
        {run.has_report && (
          <div className="row">
            <Link className="button" to="/library" search={{ report: run.name } as never}>
              Report
            </Link>
          </div>
        )}
      </section>
      {error && <p className="fault">{error.message}</p>}
      <Suspense fallback={<p className="quiet">…</p>}>
        {found.length > 0 && <HeldOut found={found} />}
        {course.metrics.length > 0 && <TrainingLoss metrics={course.metrics} />}
      </Suspense>
      <Previews previews={course.previews} />
      <section className={`panel ${styles.part}`} aria-labelledby="log">
        <h2 id="log">Log</h2>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is scrolled by keyboard too */}
        <pre className={styles.log} tabIndex={0}>
          {course.log.join("\n")}
        </pre>
      </section>
    </div>
  );
}

function facts(run: RunEntry): (readonly [string, string])[] {
  const changed = run.changes as Values;
  return [
    ["data set", run.dataset],
    ...(run.recipe ? [["recipe", run.recipe] as const] : []),
    ...(run.adapter ? [["adapter", run.adapter] as const] : []),
    ...(count(changed) ? [["changed", assignments(changed).join(", ")] as const] : []),
    ["asked for", new Date(run.created * 1000).toLocaleString()],
    ...(run.seconds_a_step == null ? [] : [["seconds a step", run.seconds_a_step.toFixed(2)] as const]),
  ];
}

function HeldOut({ found }: { found: Validation[] }) {
  const { columns, timesteps } = useMemo(() => changes(found), [found]);
  const last = found.at(-1);
  const lines = [
    { label: "all times", colour: "--accent", width: 2.5 },
    { label: "95 % from", colour: "--accent", width: 0.5 },
    { label: "to", colour: "--accent", width: 0.5 },
    ...timesteps.map((timestep, index) => ({
      label: `time ${timestep}`,
      colour: `hsl(${(index * 300) / Math.max(1, timesteps.length)} 55% 50%)`,
      width: 1,
      isDashed: true,
    })),
  ];
  return (
    <section className={`panel ${styles.part}`} aria-label="Held-out loss">
      <Plot
        title="Loss on held-out images, change from the base (below zero is better)"
        columns={columns}
        lines={lines}
        band={[1, 2]}
      />
      {last && (
        <table className={styles.table}>
          <caption className="quiet">
            At step {last.step}, on {last.images} held-out images, 95 % intervals
          </caption>
          <thead>
            <tr>
              <th scope="col">time</th>
              <th scope="col">loss</th>
              <th scope="col">change from the base</th>
            </tr>
          </thead>
          <tbody>
            {[{ timestep: "all", loss: last.loss, change: last.change }, ...last.strata].map((row) => (
              <tr key={row.timestep}>
                <th scope="row">{row.timestep}</th>
                <td>{withInterval(row.loss)}</td>
                <td>{withInterval(row.change)}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </section>
  );
}

function withInterval({ mean, low, high }: Validation["loss"]): string {
  const digits = (value: number) => value.toFixed(4);
  return low === null || high === null ? digits(mean) : `${digits(mean)} [${digits(low)}, ${digits(high)}]`;
}

function TrainingLoss({ metrics }: { metrics: Course["metrics"] }) {
  const columns = useMemo(() => losses(metrics, SMOOTHED_OVER), [metrics]);
  const lines = [
    { label: "loss", colour: "--line", width: 1 },
    { label: `mean of ${SMOOTHED_OVER}`, colour: "--quiet", width: 2 },
  ];
  return (
    <section className={`panel ${styles.part}`} aria-label="Training loss">
      <Plot title="Training loss (says little: each step has other times and noise)" columns={columns} lines={lines} />
    </section>
  );
}

function Previews({ previews }: { previews: Course["previews"] }) {
  if (previews.length === 0) return null;
  return (
    <section className={`panel ${styles.part}`} aria-labelledby="previews">
      <h2 id="previews">Previews</h2>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is scrolled by keyboard too */}
      <section className={styles.scroll} aria-label="Previews by step" tabIndex={0}>
        <table className={styles.previews}>
          <tbody>
            {[...previews].reverse().map((row) => (
              <tr key={row.step}>
                <th scope="row">step {row.step}</th>
                {row.paths.map((path, index) => (
                  <td key={path}>
                    <img src={address(path)} alt={`Preview ${index + 1} of step ${row.step}`} loading="lazy" />
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </section>
  );
}
