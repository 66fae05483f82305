// An image of a data set with its caption, which is saved when one leaves it.

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Button, DialogTrigger } from "react-aria-components";
import { api, read } from "../api/client";
import { TextBox } from "../components/fields";
import { CropDialog } from "./crop-dialog";
import styles from "./train-page.module.css";
import { type DatasetImage, imageSource, setCaption } from "./upload";

interface Props {
  dataset: string;
  image: DatasetImage;
  onChange: () => Promise<void>;
}

const EDGE = 256;

export function ImageCard({ dataset, image, onChange }: Props) {
  // What is typed and not saved yet: else the caption is the server's, which others may write too.
  const [draft, setDraft] = useState<string>();
  const save = useMutation({
    mutationFn: (caption: string) => setCaption(dataset, image.file, caption),
    onSuccess: async (_, saved) => {
      await onChange();
      setDraft((now) => (now === saved ? undefined : now));
    },
  });
  const remove = useMutation({
    mutationFn: () =>
      read(api.DELETE("/datasets/{name}/images/{file}", { params: { path: { name: dataset, file: image.file } } })),
    onSuccess: onChange,
  });
  const fault = save.error?.message ?? remove.error?.message;
  return (
    <li className={styles.image}>
      <img src={imageSource(dataset, image, EDGE)} alt={image.caption ?? image.file} loading="lazy" />
      <TextBox
        label={`Caption of ${image.file}`}
        value={draft ?? image.caption ?? ""}
        onChange={setDraft}
        onLeave={() => draft !== undefined && save.mutate(draft)}
        rows={3}
        fault={fault}
      />
      <div className="row">
        <DialogTrigger>
          <Button className="react-aria-Button small" aria-label={`Crop ${image.file}`}>
            Crop…
          </Button>
          <CropDialog dataset={dataset} image={image} onChange={onChange} />
        </DialogTrigger>
        <Button
          className="react-aria-Button small"
          aria-label={`Remove ${image.file}`}
          onPress={() => remove.mutate()}
          isDisabled={remove.isPending}
        >
          Remove
        </Button>
        {image.is_cropped && <span className="quiet">cropped</span>}
      </div>
    </li>
  );
}
