// The images to train on: put in, captioned and cropped here, with what the preparation has to say of them.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useRef, useState } from "react";
import { Button, type DropItem, DropZone, FileTrigger } from "react-aria-components";
import { address, api, read } from "../api/client";
import { Choice, TextBox } from "../components/fields";
import { ImageCard } from "./image-card";
import { Lines } from "./lines";
import type { Values } from "./recipe-fields";
import styles from "./train-page.module.css";
import { type UploadState, upload } from "./upload";

interface Props {
  name: string | undefined;
  onChoose: (name: string | undefined) => void;
  recipe: string;
  changes: Values;
}

export function DatasetPanel({ name, onChoose, recipe, changes }: Props) {
  const datasets = useQuery({ queryKey: ["datasets"], queryFn: () => read(api.GET("/datasets")) });
  return (
    <section className={`panel ${styles.part}`} aria-labelledby="images">
      <h2 id="images">1 · Images</h2>
      <div className={styles.pair}>
        <Choice
          label="Data set"
          value={name}
          onChange={onChoose}
          options={(datasets.data?.datasets ?? []).map((dataset) => dataset.name)}
          none="choose, or create one"
        />
        <NewDataset onCreate={onChoose} />
      </div>
      {name && <Images key={name} name={name} recipe={recipe} changes={changes} />}
    </section>
  );
}

function NewDataset({ onCreate }: { onCreate: (name: string) => void }) {
  const queries = useQueryClient();
  const [name, setName] = useState("");
  const [trigger, setTrigger] = useState("");
  const create = useMutation({
    mutationFn: () => read(api.POST("/datasets", { body: { name, trigger } })),
    onSuccess: async (dataset) => {
      await queries.invalidateQueries({ queryKey: ["datasets"] });
      setName("");
      setTrigger("");
      onCreate(dataset.name);
    },
  });
  const fault = create.error?.message;
  return (
    <form
      className={styles.create}
      aria-label="Create a data set"
      onSubmit={(event) => {
        event.preventDefault();
        create.mutate();
      }}
    >
      <TextBox label="New data set" value={name} onChange={setName} placeholder="mycat" fault={about(fault, "name")} />
      <TextBox
        label="Trigger word"
        value={trigger}
        onChange={setTrigger}
        placeholder="mxcat"
        fault={about(fault, "trigger")}
      />
      <Button type="submit" isDisabled={!name || !trigger || create.isPending}>
        Create
      </Button>
    </form>
  );
}

/** The part of a refusal that is about one field. */
function about(fault: string | undefined, field: string): string | undefined {
  return fault?.startsWith(`${field}: `) ? fault.slice(field.length + 2) : undefined;
}

/** The files that were dropped, and those in folders that were. */
async function filesOf(items: Iterable<DropItem>): Promise<File[]> {
  const found: File[] = [];
  for (const item of items) {
    if (item.kind === "file") found.push(await item.getFile());
    if (item.kind === "directory") for await (const entry of item.getEntries()) found.push(...(await filesOf([entry])));
  }
  return found;
}

function Images({ name, recipe, changes }: { name: string; recipe: string; changes: Values }) {
  const queries = useQueryClient();
  const dataset = useQuery({
    queryKey: ["dataset", name],
    queryFn: () => read(api.GET("/datasets/{name}", { params: { path: { name } } })),
  });
  const images = dataset.data?.images ?? [];
  const [state, setState] = useState<UploadState>();
  const refresh = () => queries.invalidateQueries({ queryKey: ["dataset", name] });
  // One after the other: what is dropped meanwhile waits.
  const turn = useRef(Promise.resolve());
  const refused = useRef<string[]>([]);
  const send = (files: File[]) => {
    turn.current = turn.current.then(async () => {
      await upload(name, files, images, report, refused.current);
      await refresh();
    });
  };
  const report = (now: UploadState) => {
    refused.current = now.refused;
    setState(now);
  };
  const prepare = useMutation({
    mutationFn: () =>
      read(api.POST("/datasets/{name}/prepare", { params: { path: { name } }, body: { recipe, changes } })),
  });
  if (dataset.isError) return <p className="fault">{dataset.error.message}</p>;
  return (
    <>
      <DropZone
        className={styles.drop}
        aria-label="Drop images and captions"
        onDrop={async (event) => {
          send(await filesOf(event.items));
        }}
      >
        <FileTrigger
          allowsMultiple
          acceptedFileTypes={["image/*", ".txt", ".caption"]}
          onSelect={(files) => send([...(files ?? [])])}
        >
          <Button>Add images…</Button>
        </FileTrigger>
        <span className="quiet">
          or drop them here, with their captions as text files of the same name
          {dataset.data?.trigger && (
            <>
              ; captions use the trigger word <b>{dataset.data.trigger}</b>
            </>
          )}
        </span>
      </DropZone>
      {state && state.done < state.total && (
        <p role="status">
          file {state.done + 1} of {state.total}
        </p>
      )}
      {state?.refused.map((reason) => (
        <p key={reason} className="fault" role="alert">
          {reason}
        </p>
      ))}
      <ul className={styles.images} aria-label={`Images of ${name}`}>
        {images.map((image) => (
          <ImageCard key={image.file} dataset={name} image={image} onChange={refresh} />
        ))}
      </ul>
      {dataset.isSuccess && images.length === 0 && <p className="quiet">No images yet: ten to thirty are usual.</p>}
      {images.length > 0 && (
        <div className="row">
          <Button onPress={() => prepare.mutate()} isDisabled={prepare.isPending}>
            {prepare.isPending ? "Checking…" : "Check the images"}
          </Button>
          <span className="quiet">as the training will read them, for {recipe}</span>
        </div>
      )}
      {prepare.isError && <Lines lines={[prepare.error.message]} isFault />}
      {prepare.data && (
        <>
          <Lines lines={prepare.data.lines} />
          <img
            className={styles.sheet}
            src={address(`/datasets/${encodeURIComponent(name)}/preview?at=${prepare.submittedAt}`)}
            alt="All that is trained on, with its captions"
          />
        </>
      )}
    </>
  );
}
