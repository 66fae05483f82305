// What is in an adapter's file, and its card.

import { useQuery } from "@tanstack/react-query";
import { Button, Dialog, DialogTrigger, Heading, Modal, ModalOverlay } from "react-aria-components";
import { api, read, type Schemas } from "../api/client";
import { Facts } from "../components/facts";
import styles from "./library-page.module.css";

export function DetailsDialog({ adapter }: { adapter: string }) {
  return (
    <DialogTrigger>
      <Button aria-label={`Details of ${adapter}`}>Details</Button>
      <ModalOverlay isDismissable>
        <Modal>
          <Dialog>{({ close }) => <Details adapter={adapter} close={close} />}</Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  );
}

function Details({ adapter, close }: { adapter: string; close: () => void }) {
  const found = useQuery({
    queryKey: ["details", adapter],
    queryFn: () => read(api.GET("/adapters/details", { params: { query: { id: adapter } } })),
  });
  return (
    <div className={styles.details}>
      <Heading slot="title">{adapter}</Heading>
      {found.isPending && <p className="quiet">…</p>}
      {(found.error?.message ?? found.data?.problem) && (
        <p className="fault">{found.error?.message ?? found.data?.problem}</p>
      )}
      {found.data && <Facts facts={facts(found.data)} />}
      {found.data?.notes?.map((note) => (
        <p key={note}>{note}</p>
      ))}
      {found.data?.card && <pre className={styles.text}>{withoutFrontMatter(found.data.card)}</pre>}
      <div className="row">
        <Button onPress={close}>Close</Button>
      </div>
    </div>
  );
}

function facts(found: Schemas["AdapterDetails"]): (readonly [string, string])[] {
  const counted = (counts: Record<string, number>) =>
    Object.entries(counts)
      .map(([value, count]) => `${value} (${count}×)`)
      .join(", ");
  const rows: [string, string][] = [
    ["SHA-256", found.sha256],
    ["kind", found.kind && `${found.kind} in the ${found.layout} layout`],
    ["fits", found.fits],
    ["ranks", counted(found.ranks)],
    ["modules", counted(found.modules)],
    [
      "change",
      Object.entries(found.norms)
        .map(([name, norm]) => `${name} ${norm.toPrecision(3)}`)
        .join(", "),
    ],
    ...Object.entries(found.metadata),
  ];
  return rows.filter(([, value]) => value);
}

/** A card without the lines that only a hub reads. */
function withoutFrontMatter(card: string): string {
  return card.replace(/^---\n.*?\n---\n/s, "").trim();
}
