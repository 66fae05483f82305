// What a stage of the training said, line by line; warnings stand out.

import styles from "./train-page.module.css";

export function Lines({ lines, isFault }: { lines: readonly string[]; isFault?: boolean }) {
  return (
    <div role={isFault ? "alert" : undefined}>
      <ul className={styles.lines}>
        {lines.map((line) => (
          <li key={line} className={isFault || /^(warning|left out)/.test(line) ? "fault" : undefined}>
            {line}
          </li>
        ))}
      </ul>
    </div>
  );
}
