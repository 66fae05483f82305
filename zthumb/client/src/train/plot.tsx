// A plot over steps: exact values in its legend, zoomed by drawing over a range, whole again by a double click.

import { useEffect, useRef } from "react";
import UPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import styles from "./train-page.module.css";

export interface Line {
  label: string;
  /** A name of a colour in base.css, or a CSS colour. */
  colour: string;
  width?: number;
  isDashed?: boolean;
}

interface Props {
  title: string;
  columns: [number[], ...(number | null)[][]];
  lines: Line[];
  /** The two lines, by their place among the lines, between which is an interval. */
  band?: [number, number];
}

const HEIGHT = 260;
/** There are no half steps. */
const WHOLE = [1, 10, 100, 1000, 10_000].flatMap((power) => [power, 2 * power, 5 * power]);

function colourOf(name: string): string {
  return name.startsWith("--") ? getComputedStyle(document.documentElement).getPropertyValue(name) : name;
}

export function Plot({ title, columns, lines, band }: Props) {
  const holder = useRef<HTMLDivElement>(null);
  const plot = useRef<UPlot>(undefined);
  const shape = JSON.stringify([lines, band]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: the plot is made anew when its lines are others; its data follow below
  useEffect(() => {
    const element = holder.current;
    if (!element) return;
    // light-dark() is resolved by the element's own style.
    const probe = document.createElement("span");
    element.append(probe);
    const resolved = (name: string) => {
      probe.style.color = name.startsWith("--") ? `var(${name})` : name;
      return getComputedStyle(probe).color || colourOf(name);
    };
    const text = resolved("--quiet");
    const axis = {
      stroke: text,
      grid: { stroke: resolved("--line"), width: 1 },
      ticks: { stroke: resolved("--line") },
    };
    const made = new UPlot(
      {
        width: element.clientWidth,
        height: HEIGHT,
        scales: { x: { time: false } },
        axes: [
          { ...axis, incrs: WHOLE },
          { ...axis, size: 64 },
        ],
        series: [
          { label: "step" },
          ...lines.map((line) => ({
            label: line.label,
            stroke: resolved(line.colour),
            width: line.width ?? 1.5,
            points: { show: columns[0].length < 40 },
            ...(line.isDashed && { dash: [4, 4] }),
            value: (_: UPlot, value: number | null) => (value === null ? "–" : value.toPrecision(4)),
          })),
        ],
        ...(band && {
          bands: [{ series: [band[1] + 1, band[0] + 1] as [number, number], fill: faint(resolved("--accent")) }],
        }),
      },
      columns,
      element,
    );
    probe.remove();
    plot.current = made;
    const observer = new ResizeObserver(() => made.setSize({ width: element.clientWidth, height: HEIGHT }));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
    };
  }, [shape]);
  useEffect(() => {
    const made = plot.current;
    if (!made) return;
    const steps = made.data[0];
    const { min, max } = made.scales.x ?? {};
    // A range that was chosen stays when there are new steps.
    const isZoomed = min != null && max != null && (min > (steps[0] ?? min) || max < (steps.at(-1) ?? max));
    made.setData(columns, !isZoomed);
    if (isZoomed) made.setScale("x", { min, max });
  }, [columns]);
  return (
    <figure className={styles.plot}>
      <figcaption>{title}</figcaption>
      <div ref={holder} role="img" aria-label={title} />
    </figure>
  );
}

function faint(colour: string): string {
  return colour.replace(/^rgb\((.*)\)$/, "rgba($1, 0.15)");
}
