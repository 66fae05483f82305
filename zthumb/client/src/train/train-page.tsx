// Train: images in, a judged adapter out. What is chosen is in the address; what runs goes on without this page.

import { useNavigate, useSearch } from "@tanstack/react-router";
import { useIsTrainingEnabled, useRuns } from "../api/runs";
import { DatasetPanel } from "./dataset-panel";
import { RecipePanel } from "./recipe-panel";
import { RunList } from "./run-list";
import { RunView } from "./run-view";
import { StartPanel } from "./start-panel";
import styles from "./train-page.module.css";
import { type TrainSearch, trainFromSearch } from "./train-search";

const FIRST_RECIPE = "mini";

export function TrainPage() {
  const isEnabled = useIsTrainingEnabled();
  return (
    <>
      <h1 className="hidden">Train</h1>
      {isEnabled === false && (
        <section className={`panel ${styles.part}`}>
          <h2>Training from here is off</h2>
          <p>
            Start the server in a checkout of the project with <code>ZTHUMB_TRAINING=.</code> to put in images, train
            and judge adapters on this page. <code>make finetune_z</code> does the same in a terminal.
          </p>
        </section>
      )}
      {isEnabled && <Training />}
    </>
  );
}

function Training() {
  const search = useSearch({ from: "/train" });
  const navigate = useNavigate({ from: "/train" });
  const change = (changes: Partial<TrainSearch>) =>
    void navigate({ search: trainFromSearch({ ...search, ...changes }) });
  const { runs, isRead, error } = useRuns(true);
  const recipe = search.recipe ?? FIRST_RECIPE;
  const changes = search.changes ?? {};
  const shown = runs.find((run) => run.name === search.run);
  if (shown) return <RunView key={shown.name} run={shown} onClose={() => change({ run: undefined })} />;
  return (
    <div className={styles.page}>
      <div className={styles.parts}>
        {search.run && isRead && <p className="fault">There is no run {search.run}.</p>}
        <DatasetPanel
          name={search.dataset}
          onChoose={(dataset) => change({ dataset })}
          recipe={recipe}
          changes={changes}
        />
      </div>
      <div className={styles.parts}>
        <RecipePanel
          name={recipe}
          onChoose={(next) => change({ recipe: next, changes: undefined })}
          changes={changes}
          onChange={(next) => change({ changes: next })}
        />
        <StartPanel
          dataset={search.dataset}
          recipe={recipe}
          changes={changes}
          prompts={search.prompts}
          onPrompts={(prompts) => change({ prompts })}
          runs={runs}
          onStart={(run) => change({ run })}
        />
        {error && <p className="fault">{error.message}</p>}
        <RunList runs={runs} onOpen={(run) => change({ run })} />
      </div>
    </div>
  );
}
