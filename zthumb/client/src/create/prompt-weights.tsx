// How the server reads a prompt that has marks in it: its pieces with their weights, while it is typed.

import { useQuery } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { ApiError, api, read } from "../api/client";
import styles from "./prompt-weights.module.css";

interface Props {
  prompt: string;
  parser: string | undefined;
  steps: number | undefined;
}

const PAUSE_MS = 400;
const USUAL_STEPS = 25;
const MARKS = /[()[\]+:|<]|--|\b(?:BREAK|AND)\b/;

/** `value` as it was when it had not changed for a moment. */
function useSettled<T>(value: T): T {
  const [settled, setSettled] = useState(value);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(value), PAUSE_MS);
    return () => clearTimeout(timer);
  }, [value]);
  return settled;
}

export function PromptWeights({ prompt, parser, steps }: Props) {
  const text = useSettled(prompt);
  const found = useQuery({
    queryKey: ["prompt", text, parser, steps],
    queryFn: () =>
      read(
        api.POST("/prompts/read", {
          body: { prompt: text, prompt_parser: parser ?? null, steps: steps ?? USUAL_STEPS },
        }),
      ),
    enabled: MARKS.test(text),
    retry: (count, error) => count < 3 && !(error instanceof ApiError && error.status === 422),
    placeholderData: (before) => before,
  });
  if (!MARKS.test(text)) return null;
  if (found.isError) return <p className="fault">{found.error.message.replace(/^prompt: /, "")}</p>;
  const { fragments, prompt_parser, adapters, is_changing } = found.data ?? { fragments: [], adapters: [] };
  const isWeighted = fragments.some((fragment) => fragment.weight !== 1);
  if (!isWeighted && !is_changing && adapters.length === 0) return null;
  return (
    <p className={styles.read}>
      <span className="quiet">
        read by {prompt_parser}
        {is_changing && ", at the first step"}:{" "}
      </span>
      {fragments.map((fragment, index) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: pieces have no other name than their place
        <span key={index} className={fragment.weight === 1 ? undefined : styles.weighted}>
          {fragment.text}
          {fragment.weight !== 1 && <sup>{Number(fragment.weight.toFixed(2))}</sup>}
        </span>
      ))}
      {adapters.length > 0 && <span className="quiet"> · adapters {adapters.join(", ")}</span>}
    </p>
  );
}
