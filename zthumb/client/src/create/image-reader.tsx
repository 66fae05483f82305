// Files dropped onto the form, or chosen from the disk: an image becomes the form that it was made with, an adapter is added.

import { useMutation, useQueryClient } from "@tanstack/react-query";
import { type ReactNode, useEffect, useRef } from "react";
import { addAdapter, isAdapterFile } from "../api/adapters";
import { inspect } from "../api/inspect";
import { FileDrop } from "../components/file-drop";
import { type CreateForm, fromRequest } from "./form";

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
    <FileDrop
      label="Drop an image to read how it was made, or an adapter to use it"
      accepted={["image/*", ".safetensors"]}
      hint={
        read.isPending
          ? "Reading…"
          : "or drop it here: an image's parameters become the form, a .safetensors its adapter"
      }
      onFile={(file) => read.mutate(file)}
    >
      {children}
      {read.isError && (
        <p className="fault" role="alert">
          {read.error.message}
        </p>
      )}
    </FileDrop>
  );
}
