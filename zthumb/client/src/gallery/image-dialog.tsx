// An image that opens in full, with everything that it was generated with.

import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { Button, Dialog, DialogTrigger, Heading, Modal, ModalOverlay } from "react-aria-components";
import { address, api, read } from "../api/client";
import { fromRequest, shortName } from "../create/form";
import styles from "./image-dialog.module.css";
import { Parameters } from "./parameters";

interface Props {
  id: string;
  path: string;
  prompt: string;
}

const EDGE = 384;

export function ImageDialog({ id, path, prompt }: Props) {
  return (
    <DialogTrigger>
      <Button className={styles.picture} data-picture aria-label={`Show the image of: ${prompt}`}>
        <img src={address(`${path}/thumbnail?edge=${EDGE}`)} alt={prompt} loading="lazy" />
      </Button>
      <ModalOverlay isDismissable>
        <Modal>
          <Dialog>{({ close }) => <Details id={id} path={path} prompt={prompt} close={close} />}</Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  );
}

/** The image, its parameters, and what can be done with it. */
export function Details({ id, path, prompt, close }: Props & { close: () => void }) {
  const navigate = useNavigate();
  const queries = useQueryClient();
  const [isDeleted, setDeleted] = useState(false);
  const found = useQuery({
    queryKey: ["parameters", id],
    queryFn: () => read(api.GET("/images/{image}/parameters", { params: { path: { image: id } } })),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const parameters = (found.data?.parameters ?? {}) as Record<string, unknown>;
  const remove = useMutation({
    mutationFn: (restores: boolean) =>
      restores
        ? read(api.POST("/images/{image}/restore", { params: { path: { image: id } } }))
        : read(api.DELETE("/images/{image}", { params: { path: { image: id } } })),
    onSuccess: (_, restores) => {
      setDeleted(!restores);
      void queries.invalidateQueries({ queryKey: ["images"] });
    },
  });
  const use = () => {
    close();
    void navigate({ to: "/", search: fromRequest(parameters) });
  };
  return (
    <div className={styles.details}>
      <img className={styles.large} src={address(path)} alt={prompt} />
      <div className={styles.side}>
        <Heading slot="title" className={styles.title}>
          {prompt}
        </Heading>
        <Parameters parameters={parameters} />
        {adaptersOf(parameters).map(({ sha256, name }) => (
          <Link key={sha256} to="/gallery" search={{ adapter: sha256 }} onClick={close}>
            All images with {name}
          </Link>
        ))}
        <div className="row">
          <Button className="react-aria-Button primary" onPress={use}>
            Use these
          </Button>
          <a className="button" href={address(path)} download={`${id}.png`}>
            Download
          </a>
          <Button onPress={() => remove.mutate(isDeleted)}>{isDeleted ? "Undo deletion" : "Delete"}</Button>
          <Button onPress={close}>Close</Button>
        </div>
      </div>
    </div>
  );
}

function adaptersOf(parameters: Record<string, unknown>): { sha256: string; name: string }[] {
  const loras = Array.isArray(parameters.loras) ? (parameters.loras as { sha256?: string; path?: string }[]) : [];
  return loras.flatMap(({ sha256, path }) => (sha256 ? [{ sha256, name: shortName(path ?? sha256) }] : []));
}
