// Width and height: the base's own size, shapes of about as many pixels, or any two numbers.

import { Choice, NumberBox } from "../components/fields";
import styles from "./size-field.module.css";

interface Props {
  width: number | undefined;
  height: number | undefined;
  /** The width and height that are used where none are given. */
  own: readonly [number, number] | undefined;
  multiple: number;
  onChange: (size: { width: number | undefined; height: number | undefined }) => void;
  fault?: string;
}

const SHAPES: readonly (readonly [string, number])[] = [
  ["1:1", 1],
  ["4:3", 4 / 3],
  ["3:4", 3 / 4],
  ["3:2", 3 / 2],
  ["2:3", 2 / 3],
  ["16:9", 16 / 9],
  ["9:16", 9 / 16],
];

/** The sides of a shape with about as many pixels as a square of `own`, in steps of `multiple`. */
export function sides(own: number, ratio: number, multiple: number): [number, number] {
  const rounded = (length: number) => Math.max(64, Math.round(length / multiple) * multiple);
  return [rounded(own * Math.sqrt(ratio)), rounded(own / Math.sqrt(ratio))];
}

export function SizeField({ width, height, own, multiple, onChange, fault }: Props) {
  const step = Math.max(multiple, 8);
  const edge = own && Math.sqrt(own[0] * own[1]);
  const sizes = edge === undefined ? [] : SHAPES.map(([name, ratio]) => [name, ...sides(edge, ratio, step)] as const);
  const chosen = sizes.find(([, across, down]) => across === width && down === height);
  const named = sizes.map(([name, across, down]) => `${name}  ${across} × ${down}`);
  return (
    <div className={styles.size}>
      <div className={styles.shape}>
        <Choice
          label="Shape"
          value={chosen && named[sizes.indexOf(chosen)]}
          onChange={(name) => {
            const size = sizes[named.indexOf(name ?? "")];
            onChange({ width: size?.[1], height: size?.[2] });
          }}
          options={named}
          none={width || height ? "other" : "as the base"}
        />
      </div>
      <NumberBox
        label="Width"
        isPlain
        value={width}
        onChange={(width) => onChange({ width, height })}
        min={64}
        max={2048}
        step={step}
        placeholder={own && String(own[0])}
        fault={fault}
      />
      <NumberBox
        label="Height"
        isPlain
        value={height}
        onChange={(height) => onChange({ width, height })}
        min={64}
        max={2048}
        step={step}
        placeholder={own && String(own[1])}
      />
    </div>
  );
}
