// The library: adapters with what was found out about them, and the reports that say why.

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate, useSearch } from "@tanstack/react-router";
import { Button, Checkbox } from "react-aria-components";
import { ADAPTERS, type AdapterEntry, useAdapters } from "../api/adapters";
import { address, api, read, type Schemas } from "../api/client";
import { useIsTrainingEnabled } from "../api/runs";
import { TextBox } from "../components/fields";
import { Comparison } from "./comparison";
import { DetailsDialog } from "./details-dialog";
import { EvaluateDialog } from "./evaluate-dialog";
import { type LibraryFilter, libraryFromSearch } from "./library-filter";
import styles from "./library-page.module.css";

type Report = Schemas["ReportEntry"];

const SHOWN = 120;

export function LibraryPage() {
  const filter = useSearch({ from: "/library" });
  const navigate = useNavigate({ from: "/library" });
  const change = (changes: Partial<LibraryFilter>) =>
    void navigate({ search: libraryFromSearch({ ...filter, ...changes }) });
  const adapters = useQuery(ADAPTERS);
  const reports = useQuery({ queryKey: ["reports"], queryFn: () => read(api.GET("/reports")) });
  const words = (filter.text ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const found = (adapters.data ?? []).filter((adapter) =>
    words.every((word) => `${adapter.id} ${adapter.trigger ?? ""}`.toLowerCase().includes(word)),
  );
  const isTraining = useIsTrainingEnabled() === true;
  const compared = filter.compare ?? [];
  const toggle = (run: string) =>
    change({
      compare: compared.includes(run) ? compared.filter((other) => other !== run) : [...compared, run].slice(-2),
    });
  if (filter.report) return <ReportView run={filter.report} onClose={() => change({ report: undefined })} />;
  return (
    <div className={styles.page}>
      <h1 className="hidden">Library</h1>
      <section aria-labelledby="adapters">
        <div className={styles.head}>
          <h2 id="adapters">Adapters</h2>
          <TextBox
            label="Name or trigger word"
            value={filter.text ?? ""}
            onChange={(text) => change({ text })}
            placeholder="any"
          />
        </div>
        {adapters.isError && <p className="fault">{adapters.error.message}</p>}
        <ul className={styles.cards}>
          {found.slice(0, SHOWN).map((adapter) => (
            <AdapterCard
              key={adapter.path}
              adapter={adapter}
              canEvaluate={isTraining}
              onReport={(report) => change({ report })}
            />
          ))}
        </ul>
        {found.length > SHOWN && <p className="quiet">and {found.length - SHOWN} more: type a part of the name.</p>}
        {adapters.isSuccess && found.length === 0 && (
          <p className="quiet">{words.length ? "No adapter is called that." : "There are none in models/lora yet."}</p>
        )}
      </section>
      <section className={styles.part} aria-labelledby="reports">
        <h2 id="reports">Reports</h2>
        {isTraining && (reports.data?.reports.length ?? 0) > 1 && (
          <p className="quiet">Choose two of them to compare their adapters, prompt by prompt.</p>
        )}
        {compared.length === 2 && (
          <Comparison
            first={compared[0] ?? ""}
            second={compared[1] ?? ""}
            onClose={() => change({ compare: undefined })}
          />
        )}
        <ul className={styles.reports}>
          {(reports.data?.reports ?? []).map((report) => (
            <li key={report.run} className={styles.line}>
              {isTraining && (
                <Checkbox
                  className="check"
                  aria-label={`Compare ${report.run}`}
                  isSelected={compared.includes(report.run)}
                  onChange={() => toggle(report.run)}
                >
                  <span className="box" aria-hidden="true" />
                </Checkbox>
              )}
              <ReportLine report={report} onOpen={() => change({ report: report.run })} />
            </li>
          ))}
        </ul>
        {reports.data?.reports.length === 0 && (
          <p className="quiet">There are none yet: `make finetune_z` writes one.</p>
        )}
      </section>
    </div>
  );
}

interface CardProps {
  adapter: AdapterEntry;
  canEvaluate: boolean;
  onReport: (run: string) => void;
}

function AdapterCard({ adapter, canEvaluate, onReport }: CardProps) {
  const { verdicts } = useAdapters();
  const weight = verdicts[adapter.id]?.lora_scale ?? 1;
  const { report } = adapter;
  return (
    <li className={`panel ${styles.card}`}>
      {adapter.preview && (
        <img className={styles.picture} src={address(adapter.preview)} alt={`what ${adapter.id} does`} loading="lazy" />
      )}
      <strong className={styles.name}>{adapter.id}</strong>
      {adapter.trigger && (
        <span>
          <span className="quiet">trigger word </span>
          {adapter.trigger}
        </span>
      )}
      <span className={adapter.verdict?.outcome === "recommended" ? styles.good : "quiet"}>
        {adapter.sentence ?? "not evaluated"}
      </span>
      <div className="row">
        <Link
          className="button"
          to="/"
          search={{ prompt: adapter.trigger ? `${adapter.trigger}` : "", loras: [{ id: adapter.id, weight }] }}
        >
          Use it
        </Link>
        <Link
          className="button"
          to="/compare"
          search={(before) => ({ ...before, prompt: adapter.trigger ?? "", adapters: [adapter.id] }) as never}
        >
          Compare
        </Link>
        <DetailsDialog adapter={adapter.id} />
        {canEvaluate && <EvaluateDialog adapter={adapter.id} />}
        {report && <Button onPress={() => onReport(report)}>Report</Button>}
        <span className="quiet">{(adapter.bytes / 2 ** 20).toFixed(1)} MiB</span>
      </div>
    </li>
  );
}

function ReportLine({ report, onOpen }: { report: Report; onOpen: () => void }) {
  return (
    <Button onPress={onOpen} className={`react-aria-Button ${styles.report}`}>
      <strong>{report.run}</strong>
      <span className={report.outcome === "recommended" ? styles.good : "quiet"}>
        {report.sentence ?? "no verdict"}
      </span>
      <span className="quiet">{new Date(report.written * 1000).toLocaleString()}</span>
    </Button>
  );
}

function ReportView({ run, onClose }: { run: string; onClose: () => void }) {
  const source = address(`/reports/${encodeURIComponent(run)}`);
  return (
    <div className={styles.view}>
      <div className="row">
        <h1>Report {run}</h1>
        <Button className="react-aria-Button small" onPress={onClose}>
          Back to the library
        </Button>
        <a className="button small" href={source} target="_blank" rel="noreferrer">
          By itself
        </a>
      </div>
      <iframe className={styles.frame} src={source} title={`Report ${run}`} sandbox="allow-scripts allow-downloads" />
    </div>
  );
}
