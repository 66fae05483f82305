// The start: the run's name, and what is refused before it is one.

import { useMutation, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { Button } from "react-aria-components";
import { useAdapters } from "../api/adapters";
import { api, read } from "../api/client";
import { putRun } from "../api/jobs";
import type { RunEntry } from "../api/runs";
import { TextBox } from "../components/fields";
import { Lines } from "./lines";
import { PromptsChoice } from "./prompts-choice";
import type { Values } from "./recipe-fields";
import styles from "./train-page.module.css";

interface Props {
  dataset: string | undefined;
  recipe: string;
  changes: Values;
  prompts: string | undefined;
  onPrompts: (prompts: string | undefined) => void;
  runs: readonly RunEntry[];
  onStart: (name: string) => void;
}

/** A name that is not taken: the data set's, the recipe's, and a number. */
function suggested(dataset: string | undefined, recipe: string, names: ReadonlySet<string>): string {
  for (let number = 1; ; number += 1) {
    const name = `${dataset ?? "run"}-${recipe}-${number}`;
    if (!names.has(name)) return name;
  }
}

export function StartPanel({ dataset, recipe, changes, prompts, onPrompts, runs, onStart }: Props) {
  const [typed, setTyped] = useState<string>();
  const reports = useQuery({ queryKey: ["reports"], queryFn: () => read(api.GET("/reports")) }).data?.reports ?? [];
  const { ids } = useAdapters();
  const taken = new Set([...runs.map((run) => run.name), ...reports.map((report) => report.run), ...ids]);
  const name = typed ?? suggested(dataset, recipe, taken);
  const start = useMutation({
    mutationFn: () => read(api.POST("/runs", { body: { name, dataset: dataset ?? "", recipe, changes, prompts } })),
    onSuccess: (run) => {
      putRun(run);
      setTyped(undefined);
      onStart(run.name);
    },
  });
  const isBusy = runs.some((run) => run.state === "running" || run.state === "stopping");
  return (
    <section className={`panel ${styles.part}`} aria-labelledby="start">
      <h2 id="start">3 · Start</h2>
      <TextBox label="Name of the run" value={name} onChange={setTyped} />
      <PromptsChoice value={prompts} onChange={onPrompts} />
      <div className="row">
        <Button
          className="react-aria-Button primary"
          onPress={() => start.mutate()}
          isDisabled={!dataset || start.isPending}
        >
          Train and evaluate
        </Button>
        <span className="quiet">
          {dataset ? (isBusy ? "It will wait for the run that is at work." : "") : "Choose a data set first."}
        </span>
      </div>
      {start.isError && <Lines lines={start.error.message.split("\n")} isFault />}
    </section>
  );
}
