// Judging an adapter that is there already: against the held-out images of a data set, on the base that is served.

import { useMutation, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import { Button, Dialog, DialogTrigger, Heading, Modal, ModalOverlay } from "react-aria-components";
import { api, read } from "../api/client";
import { putRun } from "../api/jobs";
import { Choice, TextBox } from "../components/fields";
import { shortName } from "../create/form";
import { PromptsChoice } from "../train/prompts-choice";
import styles from "./library-page.module.css";

export function EvaluateDialog({ adapter }: { adapter: string }) {
  return (
    <DialogTrigger>
      <Button aria-label={`Evaluate ${adapter}`}>Evaluate…</Button>
      <ModalOverlay isDismissable>
        <Modal>
          <Dialog>{({ close }) => <Form adapter={adapter} close={close} />}</Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  );
}

function Form({ adapter, close }: { adapter: string; close: () => void }) {
  const navigate = useNavigate();
  const datasets = useQuery({ queryKey: ["datasets"], queryFn: () => read(api.GET("/datasets")) });
  const [dataset, setDataset] = useState<string>();
  const [prompts, setPrompts] = useState<string>();
  const [name, setName] = useState(`${shortName(adapter)}-evaluation`);
  const start = useMutation({
    mutationFn: () => read(api.POST("/evaluations", { body: { name, dataset: dataset ?? "", adapter, prompts } })),
    onSuccess: (run) => {
      putRun(run);
      close();
      void navigate({ to: "/train", search: { run: run.name } });
    },
  });
  return (
    <form
      className={styles.dialog}
      onSubmit={(event) => {
        event.preventDefault();
        start.mutate();
      }}
    >
      <Heading slot="title">Evaluate {adapter}</Heading>
      <p className="quiet">
        Images with and without it, for a set of prompts, against images of the data set that were held out.
      </p>
      <Choice
        label="Data set"
        value={dataset}
        onChange={setDataset}
        options={(datasets.data?.datasets ?? []).map((each) => each.name)}
        none="choose one"
      />
      <PromptsChoice value={prompts} onChange={setPrompts} />
      <TextBox label="Name of the report" value={name} onChange={setName} />
      {start.isError && (
        <p className="fault" role="alert">
          {start.error.message}
        </p>
      )}
      <div className="row">
        <Button type="submit" className="react-aria-Button primary" isDisabled={!dataset || !name || start.isPending}>
          Evaluate
        </Button>
        <Button onPress={close}>Close</Button>
      </div>
    </form>
  );
}
