// System: what this server serves, its variants, and what waits.

import { useQuery } from "@tanstack/react-query";
import { api, read } from "../api/client";
import { isOpen, useServer } from "../api/jobs";
import { Facts } from "../components/facts";
import styles from "./system-page.module.css";

export function SystemPage() {
  const models = useQuery({ queryKey: ["models"], queryFn: () => read(api.GET("/models")) });
  const capabilities = useQuery({ queryKey: ["capabilities"], queryFn: () => read(api.GET("/capabilities")) });
  const { jobs, connection } = useServer();
  const waiting = [...jobs.values()].filter(isOpen);
  return (
    <div className={styles.page}>
      <h1 className="hidden">System</h1>
      <section className="panel" aria-labelledby="base">
        <h2 id="base">Base</h2>
        {models.data && (
          <Facts
            facts={Object.entries({
              base: models.data.base,
              family: models.data.family,
              "own size": `${models.data.resolution} × ${models.data.resolution}`,
              device: `${models.data.device}, ${models.data.precision}`,
              "SHA-256": models.data.base_sha256,
              adapters: String(models.data.lora_ids.length),
            })}
          />
        )}
        {models.isError && <p className="fault">{models.error.message}</p>}
      </section>
      <section className="panel" aria-labelledby="variants">
        <h2 id="variants">Variants</h2>
        {Object.entries(capabilities.data?.variants ?? {}).map(([name, variant]) => (
          <Facts
            key={name}
            facts={Object.entries({
              [name]: variant.is_loaded ? "loaded" : "loaded with the first request",
              steps: `${variant.steps[0]} to ${variant.steps[1]}, usually ${variant.default_steps}`,
              guidance: `${variant.cfg[0]} to ${variant.cfg[1]}, usually ${variant.default_cfg}`,
            })}
          />
        ))}
      </section>
      <section className="panel" aria-labelledby="queue">
        <h2 id="queue">Queue</h2>
        <Facts
          facts={Object.entries({
            connection: { open: "connected", connecting: "connecting", lost: "lost, trying again" }[connection],
            generating: String(waiting.filter((job) => job.state === "running").length),
            waiting: String(waiting.filter((job) => job.state === "queued").length),
          })}
        />
      </section>
      <Findings />
    </div>
  );
}

/** What may keep this server from working, as `zthumb doctor` says it; what is wrong comes first. */
function Findings() {
  const found = useQuery({ queryKey: ["findings"], queryFn: () => read(api.GET("/findings")), staleTime: 60_000 });
  const order = { wrong: 0, note: 1, ok: 2 };
  const findings = [...(found.data?.findings ?? [])].sort((a, b) => order[a.level] - order[b.level]);
  return (
    <>
      <section className="panel" aria-labelledby="memory">
        <h2 id="memory">Memory</h2>
        <p>{found.data?.plan ?? found.error?.message ?? "…"}</p>
      </section>
      <section className="panel" aria-labelledby="machine">
        <h2 id="machine">This machine</h2>
        <ul className={styles.findings}>
          {findings.map((finding) => (
            <li key={finding.what} className={finding.level === "wrong" ? "fault" : undefined}>
              <span className={styles.level}>{finding.level}</span>
              <span>
                {finding.what}
                {finding.remedy && <span className="quiet"> {finding.remedy}</span>}
              </span>
            </li>
          ))}
        </ul>
      </section>
      <section className="panel" aria-labelledby="versions">
        <h2 id="versions">Versions</h2>
        <Facts facts={Object.entries(found.data?.packages ?? {})} />
      </section>
    </>
  );
}
