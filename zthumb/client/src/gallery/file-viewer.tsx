// An image's file that is dropped on the gallery, or chosen from the disk, shows what it was generated with, whoever wrote it.

import { useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { type ReactNode, useEffect, useState } from "react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { inspect } from "../api/inspect";
import { FileDrop } from "../components/file-drop";
import { fromRequest } from "../create/form";
import styles from "./image-dialog.module.css";
import { Parameters } from "./parameters";

interface Props {
  className: string | undefined;
  children: ReactNode;
}

/** What is inside can be dropped upon. */
export function FileViewer({ className, children }: Props) {
  const [file, setFile] = useState<File>();
  return (
    <FileDrop
      className={className}
      label="Drop an image to see what it was generated with"
      accepted={["image/*"]}
      hint="or drop it here: the parameters in it are shown"
      onFile={setFile}
    >
      {children}
      <ModalOverlay isDismissable isOpen={file !== undefined} onOpenChange={(isOpen) => !isOpen && setFile(undefined)}>
        <Modal>
          <Dialog>{file && <Shown file={file} close={() => setFile(undefined)} />}</Dialog>
        </Modal>
      </ModalOverlay>
    </FileDrop>
  );
}

function Shown({ file, close }: { file: File; close: () => void }) {
  const navigate = useNavigate();
  const source = useObjectUrl(file);
  const found = useQuery({
    queryKey: ["inspect", file.name, file.size, file.lastModified],
    queryFn: () => inspect(file),
    retry: false,
  });
  const parameters = found.data?.parameters ?? {};
  return (
    <div className={styles.details}>
      {source && <img className={styles.large} src={source} alt={file.name} />}
      <div className={styles.side}>
        <Heading slot="title" className={styles.title}>
          {typeof parameters.prompt === "string" ? parameters.prompt : file.name}
        </Heading>
        {found.data && <p className="quiet">written by {found.data.program}</p>}
        {found.isError && (
          <p className="fault" role="alert">
            {found.error.message}
          </p>
        )}
        <Parameters parameters={parameters} />
        <div className="row">
          <Button
            className="react-aria-Button primary"
            isDisabled={!found.data}
            onPress={() => {
              close();
              void navigate({ to: "/", search: fromRequest(parameters) });
            }}
          >
            Use these
          </Button>
          <Button onPress={close}>Close</Button>
        </div>
      </div>
    </div>
  );
}

/** An address of a file in this browser, for as long as it is shown. */
function useObjectUrl(file: File): string | undefined {
  const [url, setUrl] = useState<string>();
  useEffect(() => {
    const made = URL.createObjectURL(file);
    setUrl(made);
    return () => URL.revokeObjectURL(made);
  }, [file]);
  return url;
}
