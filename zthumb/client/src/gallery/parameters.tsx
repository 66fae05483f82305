// What an image was generated with, one parameter a line; its prompt stands above.

import { Facts } from "../components/facts";

export function Parameters({ parameters }: { parameters: Readonly<Record<string, unknown>> }) {
  return (
    <Facts
      facts={Object.entries(parameters)
        .filter(([name, value]) => name !== "prompt" && value !== null && value !== undefined)
        .map(([name, value]) => [name.replaceAll("_", " "), shown(value)] as const)}
    />
  );
}

function shown(value: unknown): string {
  if (Array.isArray(value)) return value.map(shown).join(", ") || "none";
  if (typeof value === "object" && value !== null) {
    const { path, weight } = value as { path?: string; weight?: number };
    return path === undefined ? JSON.stringify(value) : `${path} at ${weight}`;
  }
  return String(value);
}
