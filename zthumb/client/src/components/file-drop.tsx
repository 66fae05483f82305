// A place that files are dropped on, with a button that chooses one from the disk.

import type { ReactNode } from "react";
import { Button, DropZone, FileTrigger } from "react-aria-components";
import styles from "./file-drop.module.css";

interface Props {
  label: string;
  /** Types and endings that the button offers. */
  accepted: readonly string[];
  /** What stands beside the button. */
  hint: string;
  onFile: (file: File) => void;
  className?: string;
  /** What is inside can be dropped upon. */
  children: ReactNode;
}

export function FileDrop({ label, accepted, hint, onFile, className = "", children }: Props) {
  return (
    <DropZone
      className={`${className} ${styles.zone}`}
      aria-label={label}
      onDrop={async (event) => {
        const item = event.items.find((each) => each.kind === "file");
        if (item?.kind === "file") onFile(await item.getFile());
      }}
    >
      {children}
      <div className={styles.choose}>
        <FileTrigger acceptedFileTypes={[...accepted]} onSelect={(files) => files?.[0] && onFile(files[0])}>
          <Button className="react-aria-Button small">Read a file…</Button>
        </FileTrigger>
        <span className="quiet">{hint}</span>
      </div>
    </DropZone>
  );
}
