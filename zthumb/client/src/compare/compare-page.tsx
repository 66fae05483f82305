// Compare: one prompt, adapters at scales beside the base, seed by seed; as a grid, by wiping, or in a blind vote.

import { useNavigate, useSearch } from "@tanstack/react-router";
import { useState } from "react";
import { Button, Checkbox, CheckboxGroup, Input, Label } from "react-aria-components";
import { useAdapters } from "../api/adapters";
import { address } from "../api/client";
import { NumberBox, TextBox } from "../components/fields";
import { BlindVote } from "./blind-vote";
import styles from "./compare-page.module.css";
import { type CompareForm, cells, columns, compareFromSearch, MOST_CELLS, numbers, seeds } from "./plan";
import { type CellState, useComparison } from "./runs";
import { type Side, Wipe } from "./wipe";

const MOST_SHOWN = 40;

export function ComparePage() {
  const form = useSearch({ from: "/compare" });
  const navigate = useNavigate({ from: "/compare" });
  const change = (changes: Partial<CompareForm>) =>
    void navigate({ search: compareFromSearch({ ...form, ...changes }), replace: true });
  const adapters = useAdapters();
  const plan = cells(form, adapters.base, adapters.versions);
  const {
    cells: states,
    start,
    refused,
    isStarting,
  } = useComparison(plan.length > MOST_CELLS || !adapters.isRead ? [] : plan);
  const [search, setSearch] = useState("");
  const shown = adapters.ids
    .filter((id) => form.adapters.includes(id) || id.toLowerCase().includes(search.toLowerCase()))
    .slice(0, MOST_SHOWN);
  const [chosen, setChosen] = useState<number[]>([]);
  const [isVoting, setVoting] = useState(false);
  const titles = columns(form);
  const isDone = states.length > 0 && states.every((state) => state.image);
  const missing = states.filter((state) => ["missing", "failed", "cancelled"].includes(state.state)).length;
  const side = (index: number): Side => ({
    title: `${plan[index]?.column.title}, seed ${plan[index]?.seed}`,
    image: states[index]?.image ?? "",
  });

  return (
    <div className={styles.page}>
      <h1 className="hidden">Compare</h1>
      <form
        className="panel"
        aria-label="What to compare"
        onSubmit={(event) => {
          event.preventDefault();
          void start();
        }}
      >
        <div className={styles.form}>
          <TextBox label="Prompt" value={form.prompt} onChange={(prompt) => change({ prompt })} rows={2} />
          <CheckboxGroup className="field" value={form.adapters} onChange={(adapters) => change({ adapters })}>
            <Label>Adapters</Label>
            <div className={styles.adapters}>
              {shown.map((id) => (
                <Checkbox key={id} value={id} className="check">
                  <span className="box" aria-hidden="true" />
                  {id}
                </Checkbox>
              ))}
              {adapters.ids.length > MOST_SHOWN && (
                <Input
                  aria-label="Find an adapter"
                  placeholder={`Find among ${adapters.ids.length}`}
                  value={search}
                  onChange={(event) => setSearch(event.target.value)}
                />
              )}
              {adapters.ids.length === 0 && <span className="quiet">There are none in models/lora yet.</span>}
            </div>
          </CheckboxGroup>
          <ListField label="Scales" parse={numbers} values={form.scales} onChange={(scales) => change({ scales })} />
          <ListField label="Seeds" parse={seeds} values={form.seeds} onChange={(seeds) => change({ seeds })} />
          <NumberBox
            isPlain
            label="Steps"
            value={form.steps}
            onChange={(steps) => change({ steps })}
            min={1}
            max={150}
            placeholder="usual"
          />
        </div>
        <div className="row">
          <Button
            type="submit"
            className="react-aria-Button primary"
            isDisabled={
              !form.prompt.trim() || !adapters.isRead || isStarting || missing === 0 || plan.length > MOST_CELLS
            }
          >
            {missing === plan.length || missing === 0 ? "Generate" : `Generate the other ${missing}`}
          </Button>
          {isDone && (
            <Button onPress={() => void start(true)} isDisabled={isStarting}>
              Generate again
            </Button>
          )}
          <Button onPress={() => setVoting(true)} isDisabled={!isDone || titles.length < 2}>
            Blind vote
          </Button>
          <span className="quiet">
            {plan.length > MOST_CELLS
              ? `${plan.length} images are too many to look at: at most ${MOST_CELLS}.`
              : `${plan.length} images; choose two of them to wipe between them.`}
          </span>
        </div>
        {refused && (
          <p className="fault" role="alert">
            {refused}
          </p>
        )}
      </form>
      {isVoting && (
        <BlindVote
          key={plan.map((cell) => cell.key).join()}
          columns={titles}
          rows={form.seeds.length}
          image={(row, column) => states[row * titles.length + column]?.image}
          onEnd={() => setVoting(false)}
        />
      )}
      {!isVoting && chosen.length === 2 && (
        <Wipe left={side(chosen[0] ?? 0)} right={side(chosen[1] ?? 0)} onClose={() => setChosen([])} />
      )}
      {!isVoting && plan.length <= MOST_CELLS && (
        <div className={styles.scroll}>
          <table className={styles.grid}>
            <thead>
              <tr>
                <th scope="col">seed</th>
                {titles.map((column) => (
                  <th key={column.title} scope="col">
                    {column.title}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {form.seeds.map((seed, row) => (
                <tr key={seed}>
                  <th scope="row">{seed}</th>
                  {titles.map((column, position) => {
                    const index = row * titles.length + position;
                    return (
                      <td key={column.title}>
                        <CellView
                          state={states[index]}
                          title={`${column.title}, seed ${seed}`}
                          isChosen={chosen.includes(index)}
                          onChoose={() =>
                            setChosen((before) => [...before.filter((other) => other !== index), index].slice(-2))
                          }
                        />
                      </td>
                    );
                  })}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </div>
  );
}

interface CellProps {
  state: CellState | undefined;
  title: string;
  isChosen: boolean;
  onChoose: () => void;
}

function CellView({ state, title, isChosen, onChoose }: CellProps) {
  if (state?.image) {
    return (
      <button
        type="button"
        className={styles.cell}
        aria-pressed={isChosen}
        aria-label={`Choose ${title}`}
        onClick={onChoose}
      >
        <img src={address(`${state.image}/thumbnail?edge=384`)} alt="" loading="lazy" />
      </button>
    );
  }
  const words = {
    missing: "",
    reading: "…",
    queued: "waiting",
    running: `${Math.round((state?.progress ?? 0) * 100)} %`,
    done: "",
    failed: state?.error ?? "failed",
    cancelled: "cancelled",
  };
  return <div className={styles.waiting}>{words[state?.state ?? "missing"]}</div>;
}

interface ListProps<T> {
  label: string;
  values: T[];
  parse: (text: string) => T[];
  onChange: (values: T[]) => void;
}

/** A list that is separated by commas; what is typed is kept as it is, and used as far as it can be read. */
function ListField<T>({ label, values, parse, onChange }: ListProps<T>) {
  const [text, setText] = useState(values.join(", "));
  return (
    <TextBox
      label={label}
      value={text}
      onChange={(next) => {
        setText(next);
        const found = parse(next);
        if (found.length) onChange(found);
      }}
    />
  );
}
