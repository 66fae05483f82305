// Two evaluated adapters, metric by metric over the prompts that both were evaluated on.

import { useQuery } from "@tanstack/react-query";
import { Button } from "react-aria-components";
import { api, read, type Schemas } from "../api/client";
import styles from "./library-page.module.css";

type Difference = Schemas["MetricDifference"];

export function Comparison({ first, second, onClose }: { first: string; second: string; onClose: () => void }) {
  const found = useQuery({
    queryKey: ["comparison", first, second],
    queryFn: () => read(api.GET("/comparisons", { params: { query: { first, second } } })),
  });
  const widest = Math.max(...(found.data?.differences ?? []).map((difference) => reach(difference)), 1e-9);
  return (
    <section className={`panel ${styles.comparison}`} aria-labelledby="comparison">
      <div className="row">
        <h2 id="comparison">
          {first} and {second}
        </h2>
        <Button className="react-aria-Button small" onPress={onClose}>
          Close
        </Button>
      </div>
      {found.isPending && <p className="quiet">…</p>}
      {found.isError && (
        <p className="fault" role="alert">
          {found.error.message}
        </p>
      )}
      {found.data && (
        <>
          <p className="quiet">
            A is {found.data.first}, B is {found.data.second}; 95 % intervals over prompts.
          </p>
          {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls is scrolled by keyboard too */}
          <section className={styles.scroll} aria-label="Differences by metric" tabIndex={0}>
            <table className={styles.table}>
              <thead>
                <tr>
                  {["metric", "A", "B", "B − A", "", "p", "prompts"].map((title) => (
                    <th key={title} scope="col">
                      {title}
                    </th>
                  ))}
                </tr>
              </thead>
              <tbody>
                {found.data.differences.map((difference) => (
                  <Row key={difference.metric} difference={difference} widest={widest} />
                ))}
              </tbody>
            </table>
          </section>
          {found.data.worse.map((reason) => (
            <p key={reason} className="fault">
              B is worse: {reason}
            </p>
          ))}
        </>
      )}
    </section>
  );
}

function reach({ change }: Difference): number {
  return Math.max(Math.abs(change.low ?? change.mean), Math.abs(change.high ?? change.mean));
}

function Row({ difference, widest }: { difference: Difference; widest: number }) {
  const { metric, first, second, change, p } = difference;
  const [low, high] = [change.low ?? change.mean, change.high ?? change.mean];
  return (
    <tr>
      <th scope="row">{metric.replaceAll("_", " ")}</th>
      <td>{first.mean.toFixed(3)}</td>
      <td>{second.mean.toFixed(3)}</td>
      <td>
        {signed(change.mean)} [{signed(low)}, {signed(high)}]
      </td>
      <td>
        <svg
          viewBox="-100 0 200 20"
          className={styles.interval}
          role="img"
          aria-label={`${signed(low)} to ${signed(high)}`}
        >
          <line x1="0" x2="0" y1="0" y2="20" className={styles.zero} />
          <line x1={(95 * low) / widest} x2={(95 * high) / widest} y1="10" y2="10" className={styles.span} />
          <circle cx={(95 * change.mean) / widest} cy="10" r="4" className={styles.mean} />
        </svg>
      </td>
      <td>{p.toFixed(3)}</td>
      <td>{change.prompts}</td>
    </tr>
  );
}

function signed(value: number): string {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(3)}`;
}
