// Adapters: found by name, with their verdict, and the recommended scale marked on the slider.

import { useState } from "react";
import {
  Button,
  Input,
  Label,
  SearchField,
  Slider,
  SliderOutput,
  SliderThumb,
  SliderTrack,
} from "react-aria-components";
import type { AdapterEntry } from "../api/adapters";
import { address, type Schemas } from "../api/client";
import styles from "./adapter-picker.module.css";
import { isReference, type Lora, shortName } from "./form";

type Verdict = Schemas["Verdict"];

interface Props {
  chosen: Lora[];
  onChange: (loras: Lora[] | undefined) => void;
  found: readonly AdapterEntry[];
  verdicts: Record<string, Verdict>;
  fault?: string;
}

/** What an adapter is told from others by. */
function nameOf(lora: Lora): string {
  return lora.ref ?? lora.id;
}

const SHOWN = 8;
const RANGE = 2;

export function AdapterPicker({ chosen, onChange, found, verdicts, fault }: Props) {
  const [search, setSearch] = useState("");
  const words = search.toLowerCase().split(/\s+/).filter(Boolean);
  const free = found.filter(({ id }) => !chosen.some((lora) => lora.ref === undefined && lora.id === id));
  const matching = free.filter(({ id, trigger }) =>
    words.every((word) => `${id} ${trigger ?? ""}`.toLowerCase().includes(word)),
  );
  const reference = search.trim();
  const set = (name: string, weight: number) =>
    onChange(chosen.map((lora) => (nameOf(lora) === name ? { ...lora, weight } : lora)));
  const add = (id: string) => {
    onChange([...chosen, { id, weight: verdicts[id]?.lora_scale ?? 1 }]);
    setSearch("");
  };

  return (
    <fieldset className={styles.picker}>
      <legend className="label">Adapters</legend>
      {chosen.map((lora) => (
        <Chosen
          key={nameOf(lora)}
          lora={lora}
          entry={lora.ref === undefined ? found.find(({ id }) => id === lora.id) : undefined}
          verdict={verdicts[lora.id]}
          onChange={(weight) => set(nameOf(lora), weight)}
          onRemove={() => onChange(chosen.filter((other) => nameOf(other) !== nameOf(lora)))}
        />
      ))}

      <SearchField aria-label="Find an adapter" value={search} onChange={setSearch}>
        <Input
          placeholder={
            free.length > 0 ? `Find among ${free.length}, or paste an address` : "Paste the address of an adapter"
          }
        />
      </SearchField>
      <ul className={styles.cards}>
        {matching.slice(0, SHOWN).map((entry) => (
          <li key={entry.id}>
            <Button
              className={`react-aria-Button ${styles.card}`}
              onPress={() => add(entry.id)}
              aria-label={`Add ${entry.id}`}
            >
              <Picture entry={entry} />
              <About entry={entry} name={entry.id} verdict={verdicts[entry.id]} />
            </Button>
          </li>
        ))}
      </ul>
      {matching.length > SHOWN && <p className="quiet">and {matching.length - SHOWN} more</p>}
      {matching.length === 0 && words.length > 0 && !isReference(reference) && (
        <p className="quiet">No other adapter is called that.</p>
      )}
      {isReference(reference) && (
        <Button
          className="react-aria-Button"
          onPress={() => {
            onChange([...chosen, { id: shortName(reference), ref: reference, weight: 1 }]);
            setSearch("");
          }}
        >
          Use {shortName(reference)} from this address
        </Button>
      )}

      {found.length === 0 && <p className="quiet">There are none in models/lora yet.</p>}
      {fault && (
        <p className="fault" role="alert">
          {fault}
        </p>
      )}
    </fieldset>
  );
}

/** What an adapter does, as an image; an empty square where nothing shows it. */
function Picture({ entry }: { entry: AdapterEntry | undefined }) {
  if (!entry?.preview) return <span className={styles.picture} aria-hidden="true" />;
  return <img className={styles.picture} src={address(entry.preview)} alt="" loading="lazy" />;
}

function About({
  entry,
  name,
  verdict,
}: {
  entry: AdapterEntry | undefined;
  name: string;
  verdict: Verdict | undefined;
}) {
  return (
    <span className={styles.about}>
      <strong className={styles.name}>{name}</strong>
      {entry?.trigger && <span className="quiet">{entry.trigger}</span>}
      <Badge verdict={verdict} />
    </span>
  );
}

function Badge({ verdict }: { verdict: Verdict | undefined }) {
  if (!verdict) return <span className="quiet">not evaluated</span>;
  if (verdict.outcome !== "recommended") return <span className={styles.none}>{verdict.outcome}</span>;
  return <span className={styles.good}>recommended at {verdict.lora_scale}</span>;
}

interface ChosenProps {
  lora: Lora;
  entry: AdapterEntry | undefined;
  verdict: Verdict | undefined;
  onChange: (weight: number) => void;
  onRemove: () => void;
}

function Chosen({ lora, entry, verdict, onChange, onRemove }: ChosenProps) {
  const recommended = verdict?.lora_scale ?? undefined;
  return (
    <div className={styles.chosen}>
      <div className={styles.head}>
        <Picture entry={entry} />
        <About entry={entry} name={lora.id} verdict={verdict} />
        <Button className="react-aria-Button small" onPress={onRemove} aria-label={`Remove ${lora.id}`}>
          ✕
        </Button>
      </div>
      <Slider
        value={lora.weight ?? 1}
        onChange={(weight) => onChange(weight)}
        minValue={-RANGE}
        maxValue={RANGE}
        step={0.05}
      >
        <Label>Weight</Label>
        <SliderOutput />
        <SliderTrack>
          {recommended !== undefined && (
            <span
              className={styles.mark}
              style={{ left: `${((recommended + RANGE) / (2 * RANGE)) * 100}%` }}
              title={`recommended: ${recommended}`}
            />
          )}
          <SliderThumb />
        </SliderTrack>
      </Slider>
    </div>
  );
}
