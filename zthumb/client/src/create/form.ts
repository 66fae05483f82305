// What is asked for on the page Create: the whole of it is in the address, so that it can be reloaded, gone back to and shared.

export interface Lora {
  /** What it is called: its id on this server, or the end of its path or address. */
  id: string;
  /** The server's own default where it is not given. */
  weight?: number;
  trigger?: string;
  trigger_weight?: number;
  /** How it is named instead of by its id: an address, an AIR, or the hash of its file. */
  ref?: string;
}

export interface CreateForm {
  prompt: string;
  negative?: string;
  preset?: string;
  variant?: string;
  steps?: number;
  cfg?: number;
  schedule?: string;
  scheduler?: string;
  prompt_parser?: string;
  width?: number;
  height?: number;
  /** As text: seeds go up to 2**63. */
  seed?: string;
  batch?: number;
  /** None at all if empty, where the server has an adapter of its own for requests that name none. */
  loras?: Lora[];
  /** What else a request or an image says, by the server's names: kept as it is. */
  more?: Record<string, unknown>;
}

/** Fields of a request that the form has no control for. */
const MORE = [
  "true_cfg_scale",
  "embedded_guidance_schedule",
  "step_cache",
  "lora_path",
  "lora_scale",
  "deterministic",
  "isolated",
  "output_format",
];
const USUAL: Record<string, unknown> = { deterministic: false, isolated: false };

function moreOf(values: Record<string, unknown>): Record<string, unknown> | undefined {
  const kept = MORE.filter((name) => values[name] != null && values[name] !== USUAL[name]).map((name) => [
    name,
    values[name],
  ]);
  return kept.length ? Object.fromEntries(kept) : undefined;
}

const MAX_SEED = 2n ** 63n - 1n;

function text(value: unknown): string | undefined {
  return typeof value === "string" && value !== "" ? value : undefined;
}

function number(value: unknown): number | undefined {
  return typeof value === "number" && Number.isFinite(value) ? value : undefined;
}

function seed(value: unknown): string | undefined {
  const digits = typeof value === "number" ? String(value) : value;
  return typeof digits === "string" && isSeed(digits) ? digits : undefined;
}

/** Whether a text is a seed that the server takes. */
export function isSeed(value: string): boolean {
  return /^\d{1,19}$/.test(value) && BigInt(value) <= MAX_SEED;
}

function lora(value: unknown): Lora[] {
  const { id, weight, ref, trigger, trigger_weight } = (value ?? {}) as Partial<Lora>;
  if (typeof id !== "string") return [];
  return [
    {
      id,
      ...(typeof weight === "number" && Number.isFinite(weight) && { weight }),
      ...(typeof ref === "string" && { ref }),
      ...(typeof trigger === "string" && { trigger }),
      ...(typeof trigger_weight === "number" && trigger_weight > 0 && { trigger_weight }),
    },
  ];
}

/** Whether a text names an adapter that is not on this server: an address, an AIR, a repository of the hub. */
export function isReference(words: string): boolean {
  return /^(https:\/\/|urn:air:|civitai:|sha256:)\S+$/.test(words) || /^[\w.-]+\/[\w.-]+(:\S+)?$/.test(words);
}

/** The last part of a path or an address, without an ending. */
export function shortName(reference: string): string {
  const parts = reference.split(/[/:]/).filter(Boolean);
  return (parts.at(-1) ?? reference).replace(/\.safetensors$/, "");
}

/** An adapter as a request or an image's parameters name it. */
function given(value: unknown): Lora[] {
  const { id, ref, path, sha256, ...same } = (value ?? {}) as Record<string, unknown>;
  if (typeof id === "string") return lora({ ...same, id });
  if (typeof ref === "string") return lora({ ...same, id: shortName(ref), ref });
  // By its hash it is found wherever it was moved to.
  if (typeof sha256 === "string")
    return lora({ ...same, id: shortName(String(path ?? sha256)), ref: `sha256:${sha256}` });
  if (typeof path === "string") return lora({ ...same, id: shortName(path), ref: path });
  return [];
}

/** Read the form from an address; what is not understood is left out. */
export function fromSearch(search: Record<string, unknown>): CreateForm {
  const read = Array.isArray(search.loras) ? search.loras.flatMap(lora) : [];
  const asksForNone = Array.isArray(search.loras) && search.loras.length === 0;
  const loras = read.length || asksForNone ? read : undefined;
  const form: CreateForm = {
    // A prompt that looks like a number was written as one.
    prompt: search.prompt === undefined ? "" : String(search.prompt),
    negative: text(search.negative),
    preset: text(search.preset),
    variant: text(search.variant),
    steps: number(search.steps),
    cfg: number(search.cfg),
    schedule: text(search.schedule),
    scheduler: text(search.scheduler),
    prompt_parser: text(search.prompt_parser),
    width: number(search.width),
    height: number(search.height),
    seed: seed(search.seed),
    batch: number(search.batch),
    loras,
    more: moreOf((search.more ?? {}) as Record<string, unknown>),
  };
  return Object.fromEntries(Object.entries(form).filter(([, value]) => value !== undefined)) as unknown as CreateForm;
}

/** The body of POST /jobs. The seed stays text, which the server reads as a number of any size. */
export function toRequest(form: CreateForm): Record<string, unknown> {
  const { negative, schedule, loras, more, ...same } = form;
  return {
    ...more,
    ...same,
    ...(negative !== undefined && { negative_prompt: negative }),
    ...(schedule !== undefined && { guidance_schedule: schedule }),
    ...(loras !== undefined && {
      loras: loras.map(({ id, ref, ...same }) => (ref === undefined ? { id, ...same } : { ref, ...same })),
    }),
  };
}

/** The form that a job or an image's parameters were asked for with. */
export function fromRequest(request: Record<string, unknown>): CreateForm {
  const loras = Array.isArray(request.loras) ? request.loras.flatMap(given) : undefined;
  return fromSearch({
    ...request,
    negative: request.negative_prompt,
    schedule: request.guidance_schedule,
    cfg: request.cfg ?? request.guidance_scale,
    loras,
    more: moreOf(request),
  });
}

const FIELDS: Record<string, keyof CreateForm> = {
  negative_prompt: "negative",
  guidance_schedule: "schedule",
  guidance_scale: "cfg",
};

/** Split what the server refused into the faults of fields, by the name before each colon, and everything else. */
export function faults(message: string): { fields: Partial<Record<keyof CreateForm, string>>; other: string[] } {
  const fields: Partial<Record<keyof CreateForm, string>> = {};
  const other: string[] = [];
  for (const part of message.split("; ")) {
    const match = /^([a-z_]+)(?:\.[\w.]+)?: (.+)$/s.exec(part);
    const name = match?.[1] ?? "";
    const known = [
      "prompt",
      "preset",
      "variant",
      "steps",
      "cfg",
      "scheduler",
      "prompt_parser",
      "width",
      "height",
      "seed",
      "batch",
      "loras",
    ];
    const field = FIELDS[name] ?? (known.includes(name) ? (name as keyof CreateForm) : undefined);
    if (field && match?.[2]) fields[field] = match[2];
    else other.push(part);
  }
  return { fields, other };
}
