// The frame of every page: where one can go, and whether the server is there.

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, Outlet } from "@tanstack/react-router";
import { useEffect } from "react";
import { ToggleButton } from "react-aria-components";
import { ApiError, api, read } from "../api/client";
import { follow, useServer } from "../api/jobs";
import { Login } from "../session/login";
import styles from "./layout.module.css";
import { useTheme } from "./theme";

const PAGES = [
  ["/", "Create"],
  ["/compare", "Compare"],
  ["/train", "Train"],
  ["/gallery", "Gallery"],
  ["/library", "Library"],
  ["/system", "System"],
] as const;

export function Layout() {
  const queries = useQueryClient();
  const session = useQuery({ queryKey: ["session"], queryFn: () => read(api.GET("/session")) });
  const needsKey = session.error instanceof ApiError && session.error.status === 401;
  const isOpen = session.isSuccess;
  useEffect(() => {
    if (isOpen) follow();
  }, [isOpen]);
  if (needsKey) return <Login onOpen={() => void queries.invalidateQueries()} />;
  return (
    <>
      <header className={styles.header}>
        <Link to="/" search={{ prompt: "" }} className={styles.name}>
          zthumb
        </Link>
        <nav aria-label="Pages" className={styles.nav}>
          {PAGES.map(([to, title]) => (
            <Link
              key={to}
              to={to}
              search={(before) => before as never}
              activeOptions={{ exact: true, includeSearch: false }}
            >
              {title}
            </Link>
          ))}
        </nav>
        <Theme />
      </header>
      <Lost />
      <main className={styles.main}>
        <Outlet />
      </main>
    </>
  );
}

function Theme() {
  const [isDark, setDark] = useTheme();
  return (
    <ToggleButton className="react-aria-Button small" isSelected={isDark} onChange={setDark} aria-label="Dark theme">
      {isDark ? "☾" : "☀"}
    </ToggleButton>
  );
}

function Lost() {
  const { connection } = useServer();
  if (connection !== "lost") return null;
  return (
    <p role="status" className={styles.lost}>
      The server cannot be reached. Nothing is lost: this page goes on when it is there again.
    </p>
  );
}
