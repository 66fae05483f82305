// The seed: drawn for each request, or one number, which the dice draw.

import { Button, FieldError, Group, Input, Label, TextField } from "react-aria-components";
import { isSeed } from "./form";

interface Props {
  seed: string | undefined;
  onChange: (seed: string | undefined) => void;
  fault?: string;
}

/** A seed of 32 bits: short enough to be read to somebody. */
export function drawSeed(): string {
  const [value] = crypto.getRandomValues(new Uint32Array(1));
  return String(value);
}

export function SeedField({ seed, onChange, fault }: Props) {
  return (
    <TextField
      className="field"
      value={seed ?? ""}
      onChange={(text) => (text === "" || isSeed(text)) && onChange(text || undefined)}
      isInvalid={fault !== undefined}
    >
      <Label>Seed</Label>
      <Group>
        <Input inputMode="numeric" placeholder="drawn" />
        <Button aria-label="Draw a seed and keep it" onPress={() => onChange(drawSeed())}>
          ⚄
        </Button>
        {seed !== undefined && (
          <Button aria-label="Draw a new seed for each request" onPress={() => onChange(undefined)}>
            ✕
          </Button>
        )}
      </Group>
      <FieldError>{fault}</FieldError>
    </TextField>
  );
}
