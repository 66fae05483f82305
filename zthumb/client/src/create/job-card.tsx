// One job: its place in the queue, its preview while it is generated, its images when it is done, or why there are none.

import { useMutation } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Button, ProgressBar } from "react-aria-components";
import { address, api, type JobEntry, read } from "../api/client";
import { isOpen } from "../api/jobs";
import { ImageDialog } from "../gallery/image-dialog";
import { fromRequest } from "./form";
import styles from "./job-card.module.css";

export function JobCard({ job }: { job: JobEntry }) {
  const navigate = useNavigate();
  const cancel = useMutation({
    mutationFn: () => read(api.DELETE("/jobs/{job}", { params: { path: { job: job.id } } })),
  });
  const prompt = String(job.request.prompt ?? "");
  return (
    <article className={styles.card} aria-label={`${stateInWords(job)}: ${prompt}`}>
      <div className={styles.pictures} data-count={Math.min(job.images.length, 4)}>
        {job.images.map((image) => (
          <ImageDialog key={image.id} id={image.id} path={image.path} prompt={prompt} />
        ))}
        {job.images.length === 0 && job.preview && <img className={styles.preview} src={address(job.preview)} alt="" />}
        {job.images.length === 0 && !job.preview && <div className={styles.empty}>{isOpen(job) ? "…" : "—"}</div>}
      </div>
      {job.state === "running" && <Bar value={job.progress} />}
      <p className={styles.prompt} title={prompt}>
        {prompt}
      </p>
      <div className="row">
        <span className="quiet">{stateInWords(job)}</span>
        {isOpen(job) ? (
          <Button className="react-aria-Button small" onPress={() => cancel.mutate()} isDisabled={cancel.isPending}>
            Cancel
          </Button>
        ) : (
          <Button
            className="react-aria-Button small"
            onPress={() => void navigate({ to: "/", search: fromRequest(job.request) })}
          >
            Use these
          </Button>
        )}
      </div>
      {job.error && <p className="fault">{job.error}</p>}
      {job.warnings.map((warning) => (
        <p key={warning} className="quiet">
          {warning}
        </p>
      ))}
    </article>
  );
}

/** What a job does, for people. */
export function stateInWords(job: JobEntry): string {
  const left = job.eta_s == null ? "" : `, ${seconds(job.eta_s)} left`;
  if (job.state === "queued") return job.position ? `waiting, ${job.position} ahead${left}` : `next${left}`;
  if (job.state === "running") return `generating${left}`;
  return { done: "done", failed: "failed", cancelled: "cancelled" }[job.state];
}

function seconds(value: number): string {
  return value < 90 ? `${Math.max(1, Math.round(value))} s` : `${Math.round(value / 60)} min`;
}

function Bar({ value }: { value: number }) {
  return (
    <ProgressBar value={value * 100} aria-label="Progress" className={styles.bar}>
      {({ percentage }) => <div className={styles.done} style={{ width: `${percentage}%` }} />}
    </ProgressBar>
  );
}
