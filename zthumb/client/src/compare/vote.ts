// A blind vote: pairs of images of one seed in an order that is not told, and what was preferred.

import type { Column } from "./plan";

export interface Ballot {
  row: number;
  /** The columns that are shown left and right. */
  left: number;
  right: number;
}

/** Every pair of columns of every row, sides and order drawn by `random`, which returns 0 … 1. */
export function ballots(rows: number, columnCount: number, random: () => number): Ballot[] {
  const found: Ballot[] = [];
  for (let row = 0; row < rows; row += 1) {
    for (let first = 0; first < columnCount; first += 1) {
      for (let second = first + 1; second < columnCount; second += 1) {
        const [left, right] = random() < 0.5 ? [first, second] : [second, first];
        found.push({ row, left, right });
      }
    }
  }
  for (let index = found.length - 1; index > 0; index -= 1) {
    const other = Math.floor(random() * (index + 1));
    [found[index], found[other]] = [found[other] as Ballot, found[index] as Ballot];
  }
  return found;
}

export interface Tally {
  title: string;
  won: number;
  of: number;
}

/** How often each column won, a draw being half for each. `choices` are -1 for left, 1 for right, 0 for neither. */
export function tally(columns: Column[], voted: Ballot[], choices: number[]): Tally[] {
  const result = columns.map((column) => ({ title: column.title, won: 0, of: 0 }));
  voted.slice(0, choices.length).forEach((ballot, index) => {
    const choice = choices[index] ?? 0;
    for (const [column, share] of [
      [ballot.left, (1 - choice) / 2],
      [ballot.right, (1 + choice) / 2],
    ] as const) {
      const row = result[column];
      if (row) {
        row.won += share;
        row.of += 1;
      }
    }
  });
  return result.sort((a, b) => b.won / (b.of || 1) - a.won / (a.of || 1));
}
