// Where the server has API keys: one of them opens a session in this browser.

import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Button, Input, Label, TextField } from "react-aria-components";
import { api, read } from "../api/client";
import styles from "./login.module.css";

export function Login({ onOpen }: { onOpen: () => void }) {
  const [key, setKey] = useState("");
  const open = useMutation({
    mutationFn: () => read(api.POST("/session", { body: { key } })),
    onSuccess: onOpen,
  });
  return (
    <main className={styles.page}>
      <form
        className={`panel ${styles.form}`}
        onSubmit={(event) => {
          event.preventDefault();
          open.mutate();
        }}
      >
        <h1>zthumb</h1>
        <p className="quiet">This server asks for an API key.</p>
        <TextField className="field" type="password" value={key} onChange={setKey} autoFocus>
          <Label>API key</Label>
          <Input autoComplete="current-password" />
        </TextField>
        {open.isError && (
          <p className="fault" role="alert">
            {open.error.message}
          </p>
        )}
        <Button type="submit" className="react-aria-Button primary" isDisabled={!key || open.isPending}>
          Open
        </Button>
      </form>
    </main>
  );
}
