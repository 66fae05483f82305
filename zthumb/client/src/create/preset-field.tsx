// Which base generates, with which settings: the server's own, or a preset of it.

import type { Schemas } from "../api/client";
import { Choice } from "../components/fields";
import { shortName } from "./form";

type Preset = Schemas["PresetResponse"];

interface Props {
  value: string | undefined;
  onChange: (preset: string | undefined) => void;
  presets: Readonly<Record<string, Preset>>;
  /** The base that the server serves by itself. */
  own: string | undefined;
  fault?: string;
}

export function PresetField({ value, onChange, presets, own, fault }: Props) {
  const chosen = presets[value ?? ""];
  return (
    <div>
      <Choice
        label="Base and preset"
        value={value}
        onChange={onChange}
        options={Object.keys(presets)}
        none={own ? shortName(own) : "the server's own"}
        fault={fault}
      />
      {chosen && (
        <p className="quiet">
          {chosen.purpose}. {chosen.base && `Base: ${chosen.base}.`}{" "}
          {!chosen.is_here && "It is not on this machine yet: the first image waits for its download."}
        </p>
      )}
    </div>
  );
}

/** The size in pixels that is used where none is given: the preset's, or, of the server's own base, its edge. */
export function ownSize(preset: Preset | undefined, edge: number | undefined): [number, number] | undefined {
  if (preset?.width && preset.height) return [preset.width, preset.height];
  return edge && !preset?.base ? [edge, edge] : undefined;
}
