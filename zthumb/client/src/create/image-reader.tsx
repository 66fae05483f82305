// Files dropped onto the form, or chosen from the disk: an image becomes the form that it was made with, an adapter is added.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { Button, DropZone, FileTrigger } from "react-aria-components";
import { addAdapter, isAdapterFile } from "../api/adapters";
import { inspect } from "../api/inspect";
import { type CreateForm, fromRequest } from "./form";
import styles from "./image-reader.module.css";

interface Props {
  onRead: (form: CreateForm) => void;
  onAdapter: (id: string) => void;
  children: ReactNode;
}

/** What is inside can be dropped upon; `onRead` gets the form that an image was made with, `onAdapter` an adapter's id. */
export function ImageReader({ onRead, onAdapter, children }: Props) {
  const queries = useQueryClient();
  const isShown = useRef(false);
  useEffect(() => {
    isShown.current = true;
    return () => {
      isShown.current = false;
    };
  }, []);
  const read = useMutation({
    mutationFn: async (file: File) => {
      if (!isAdapterFile(file)) return onRead(fromRequest((await inspect(file)).parameters));
      const id = await addAdapter(file);
      await queries.invalidateQueries({ queryKey: ["adapters"] });
      if (isShown.current) onAdapter(id);
    },
  });
  return (
    <DropZone
      className={styles.zone}
      aria-label="Drop an image to read how it was made, or an adapter to use it"
      onDrop={async (event) => {
        const item = event.items.find((each) => each.kind === "file");
        if (item?.kind === "file") read.mutate(await item.getFile());
      }}
    >
      {children}
      <div className={styles.choose}>
        <FileTrigger
          acceptedFileTypes={["image/*", ".safetensors"]}
          onSelect={(files) => files?.[0] && read.mutate(files[0])}
        >
          <Button className="react-aria-Button small">Read a file…</Button>
        </FileTrigger>
        <span className="quiet">
          {read.isPending
            ? "Reading…"
            : "or drop it here: an image's parameters become the form, a .safetensors its adapter"}
        </span>
      </div>
      {read.isError && (
        <p className="fault" role="alert">
          {read.error.message}
        </p>
      )}
    </DropZone>
  );
}
