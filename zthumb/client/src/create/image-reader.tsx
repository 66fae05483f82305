// The parameters inside an image, of this program or another: dropped onto the form, or chosen from the disk.

import { useMutation } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Button, DropZone, FileTrigger } from "react-aria-components";
import { ApiError, address } from "../api/client";
import { type CreateForm, fromRequest } from "./form";
import styles from "./image-reader.module.css";
import { parseWithSeeds } from "./seeds";

async function inspect(file: File): Promise<CreateForm> {
  const answer = await fetch(address("/images/inspect"), {
    method: "POST",
    body: file,
    headers: { "Content-Type": file.type || "application/octet-stream" },
  });
  const body = parseWithSeeds(await answer.text()) as { detail?: string; parameters?: Record<string, unknown> };
  if (!answer.ok || !body.parameters) throw new ApiError(answer.status, body.detail ?? "this image has no parameters.");
  return fromRequest(body.parameters);
}

/** What is inside can be dropped upon; `onRead` gets the form that an image was made with. */
export function ImageReader({ onRead, children }: { onRead: (form: CreateForm) => void; children: ReactNode }) {
  const read = useMutation({ mutationFn: inspect, onSuccess: onRead });
  return (
    <DropZone
      className={styles.zone}
      aria-label="Drop an image to read how it was made"
      onDrop={async (event) => {
        const item = event.items.find((each) => each.kind === "file");
        if (item?.kind === "file") read.mutate(await item.getFile());
      }}
    >
      {children}
      <div className={styles.choose}>
        <FileTrigger acceptedFileTypes={["image/*"]} onSelect={(files) => files?.[0] && read.mutate(files[0])}>
          <Button className="react-aria-Button small">Read an image…</Button>
        </FileTrigger>
        <span className="quiet">or drop one here: the form becomes what it was made with</span>
      </div>
      {read.isError && (
        <p className="fault" role="alert">
          {read.error.message}
        </p>
      )}
    </DropZone>
  );
}
