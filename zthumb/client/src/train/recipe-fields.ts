// The fields of a recipe's form, made from the schema that the training itself publishes.

export type Json = string | number | boolean | null | Json[] | { [key: string]: Json };
export interface Values {
  [key: string]: Json;
}

interface Schema {
  $ref?: string;
  $defs?: Record<string, Schema>;
  type?: string;
  enum?: Json[];
  const?: Json;
  anyOf?: Schema[];
  items?: Schema;
  properties?: Record<string, Schema>;
  description?: string;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  multipleOf?: number;
}

export type Kind = "number" | "integer" | "switch" | "choice" | "text" | "lines" | "json";

/** A key of a recipe. `path` is where it is, `kind` what its control is. */
export interface Field {
  path: string[];
  kind: Kind;
  options: string[];
  isOptional: boolean;
  min?: number;
  max?: number;
  step?: number;
}

/** The keys of one part of a recipe, and what the training says of them. */
export interface Group {
  name: string;
  description: string;
  fields: Field[];
}

/** The keys that nearly every training is tuned by; the others are folded. */
export const ESSENTIAL = ["steps", "batch_size", "optimizer.lr", "adapter.rank", "adapter.alpha", "memory"];

/** All fields of a schema, those at its top first. */
export function groups(schema: Schema): Group[] {
  const top: Group = { name: "run", description: plain(schema.description), fields: [] };
  const nested: Group[] = [];
  for (const [name, property] of Object.entries(schema.properties ?? {})) {
    const found = resolve(property, schema);
    if (found.properties) {
      const fields = Object.entries(found.properties).map(([key, inner]) => field([name, key], inner, schema));
      nested.push({ name, description: plain(found.description), fields });
    } else {
      top.fields.push(field([name], property, schema));
    }
  }
  return [top, ...nested];
}

function field(path: string[], property: Schema, root: Schema): Field {
  const branches = (property.anyOf ?? [property]).map((branch) => resolve(branch, root));
  const values = branches.filter((branch) => branch.type !== "null");
  const only = values.length === 1 ? values[0] : undefined;
  const isOptional = values.length < branches.length;
  const options = (only?.enum ?? []).map(String);
  return { path, kind: kindOf(only), options, isOptional, ...limits(only) };
}

function kindOf(schema: Schema | undefined): Kind {
  if (!schema) return "json";
  if (schema.enum) return "choice";
  if (schema.type === "array") return schema.items?.type === "string" ? "lines" : "json";
  const kinds: Record<string, Kind> = { number: "number", integer: "integer", boolean: "switch", string: "text" };
  return kinds[schema.type ?? ""] ?? "json";
}

function limits(schema: Schema | undefined): Pick<Field, "min" | "max" | "step"> {
  return {
    ...(schema?.minimum !== undefined && { min: schema.minimum }),
    ...(schema?.maximum !== undefined && { max: schema.maximum }),
    ...(schema?.multipleOf !== undefined && { step: schema.multipleOf }),
  };
}

function resolve(schema: Schema, root: Schema): Schema {
  const name = schema.$ref?.split("/").at(-1);
  return name === undefined ? schema : (root.$defs?.[name] ?? {});
}

/** A docstring as text: without the quotes around names, its line breaks those of paragraphs. */
function plain(text: string | undefined): string {
  return (text ?? "").replaceAll("``", "").replace(/([^\n])\n(?!\n)/g, "$1 ");
}

export function at(values: Values, path: string[]): Json | undefined {
  let found: Json | undefined = values;
  for (const key of path) {
    if (typeof found !== "object" || found === null || Array.isArray(found)) return undefined;
    found = found[key];
  }
  return found;
}

/** `changes` with the value at `path`; one that the recipe has anyway is none. */
export function withChange(changes: Values, recipe: Values, path: string[], value: Json): Values {
  const [key = "", ...rest] = path;
  const { [key]: before, ...others } = changes;
  if (rest.length === 0) return same(at(recipe, path), value) ? others : { ...changes, [key]: value };
  const inner = withChange(asValues(before), asValues(recipe[key]), rest, value);
  return Object.keys(inner).length === 0 ? others : { ...changes, [key]: inner };
}

function asValues(value: Json | undefined): Values {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? value : {};
}

function same(one: Json | undefined, other: Json): boolean {
  return JSON.stringify(one ?? null) === JSON.stringify(other);
}

/** How many values differ from the recipe's. */
export function count(changes: Values): number {
  return Object.values(changes).reduce<number>((sum, value) => {
    const isNested = typeof value === "object" && value !== null && !Array.isArray(value);
    return sum + (isNested ? count(value) : 1);
  }, 0);
}

/** Changes as they are given on a command line: optimizer.lr=0.001. */
export function assignments(changes: Values, path: string[] = []): string[] {
  return Object.entries(changes).flatMap(([key, value]) => {
    const here = [...path, key];
    const isNested = typeof value === "object" && value !== null && !Array.isArray(value);
    return isNested ? assignments(value, here) : [`${here.join(".")}=${JSON.stringify(value)}`];
  });
}

/** What was typed for a value of no single kind: a number, a list, a word; nothing is none. */
export function parseLoosely(text: string): Json {
  if (!text.trim()) return null;
  try {
    return JSON.parse(text) as Json;
  } catch {
    return text.trim();
  }
}
