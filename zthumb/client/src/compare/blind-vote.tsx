// The blind vote: two images, which of them is better, and at the end what they were.

import { useState } from "react";
import { Button } from "react-aria-components";
import { address } from "../api/client";
import styles from "./compare-page.module.css";
import type { Column } from "./plan";
import { type Ballot, ballots, tally } from "./vote";

interface Props {
  columns: Column[];
  rows: number;
  image: (row: number, column: number) => string | undefined;
  onEnd: () => void;
}

export function BlindVote({ columns, rows, image, onEnd }: Props) {
  const [voted] = useState<Ballot[]>(() => ballots(rows, columns.length, Math.random));
  const [choices, setChoices] = useState<number[]>([]);
  const ballot = voted[choices.length];
  if (!ballot) return <Result columns={columns} voted={voted} choices={choices} onEnd={onEnd} />;
  const choose = (choice: number) => setChoices([...choices, choice]);
  const left = image(ballot.row, ballot.left);
  const right = image(ballot.row, ballot.right);
  return (
    <section className="panel" aria-label="Blind vote">
      <p className="quiet" aria-live="polite">
        Pair {choices.length + 1} of {voted.length}: which one is better?
      </p>
      <div className={styles.pair}>
        {left && <img src={address(left)} alt="The left one" />}
        {right && <img src={address(right)} alt="The right one" />}
      </div>
      <div className="row">
        <Button onPress={() => choose(-1)}>The left one</Button>
        <Button onPress={() => choose(0)}>Neither</Button>
        <Button onPress={() => choose(1)}>The right one</Button>
        <Button onPress={onEnd}>Stop</Button>
      </div>
    </section>
  );
}

function Result({
  columns,
  voted,
  choices,
  onEnd,
}: {
  columns: Column[];
  voted: Ballot[];
  choices: number[];
  onEnd: () => void;
}) {
  return (
    <section className="panel" aria-label="Result of the vote">
      <h2>What was preferred</h2>
      <table className={styles.result}>
        <thead>
          <tr>
            <th scope="col">what it was</th>
            <th scope="col">preferred</th>
          </tr>
        </thead>
        <tbody>
          {tally(columns, voted, choices).map((row) => (
            <tr key={row.title}>
              <th scope="row">{row.title}</th>
              <td>
                {row.won} of {row.of} pairs
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      <Button onPress={onEnd}>Back to the images</Button>
    </section>
  );
}
