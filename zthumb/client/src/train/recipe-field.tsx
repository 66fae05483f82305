// The control of one key of a recipe, by the kind that its schema says.

import { useEffect, useState } from "react";
import { Switch } from "react-aria-components";
import { Choice, NumberBox, TextBox } from "../components/fields";
import { at, type Field, type Json, parseLoosely, type Values } from "./recipe-fields";
import styles from "./train-page.module.css";

interface Props {
  field: Field;
  recipe: Values;
  changes: Values;
  onChange: (field: Field, value: Json) => void;
}

export function RecipeField({ field, recipe, changes, onChange }: Props) {
  const changed = at(changes, field.path);
  const value = changed === undefined ? at(recipe, field.path) : changed;
  const label = field.path.join(".");
  const set = (next: Json) => onChange(field, next);
  const marked = changed === undefined ? undefined : styles.changed;
  return <div className={marked}>{control(field, label, value ?? null, set)}</div>;
}

function control(field: Field, label: string, value: Json, set: (value: Json) => void) {
  switch (field.kind) {
    case "integer":
    case "number":
      return (
        <NumberBox
          label={label}
          value={typeof value === "number" ? value : undefined}
          onChange={(next) => (next !== undefined || field.isOptional) && set(next ?? null)}
          min={field.min}
          max={field.max}
          step={field.step ?? (field.kind === "integer" ? 1 : undefined)}
          placeholder={field.isOptional ? "none" : undefined}
          isPlain
          digits={field.kind === "integer" ? 0 : 10}
        />
      );
    case "switch":
      return (
        <Switch className={styles.switch} isSelected={value === true} onChange={set}>
          <span className={styles.track} aria-hidden="true" />
          {label}
        </Switch>
      );
    case "choice":
      return (
        <Choice
          label={label}
          value={value === null ? undefined : String(value)}
          onChange={(next) => (next !== undefined || field.isOptional) && set(next ?? null)}
          options={field.options}
          none={field.isOptional ? "none" : "choose one"}
        />
      );
    default:
      return <Typed label={label} field={field} value={value} set={set} />;
  }
}

function textOf(field: Field, value: Json): string {
  if (value === null) return "";
  if (field.kind === "lines") return Array.isArray(value) ? value.join("\n") : "";
  return field.kind === "text" || typeof value === "string" ? String(value) : JSON.stringify(value);
}

function readAs(field: Field, text: string): Json {
  if (field.kind === "lines") return text.split("\n").filter((line) => line.trim());
  if (field.kind === "json") return parseLoosely(text);
  return text === "" && field.isOptional ? null : text;
}

/** Text that means a value: it is kept as it is typed, and read when one leaves it. */
function Typed({ label, field, value, set }: { label: string; field: Field; value: Json; set: (value: Json) => void }) {
  const given = textOf(field, value);
  const [text, setText] = useState(given);
  useEffect(() => setText(given), [given]);
  return (
    <TextBox
      label={field.kind === "lines" ? `${label}, one a line` : label}
      value={text}
      onChange={setText}
      onLeave={() => text !== given && set(readAs(field, text))}
      rows={field.kind === "lines" ? 3 : undefined}
      placeholder={field.isOptional ? "none" : undefined}
    />
  );
}
