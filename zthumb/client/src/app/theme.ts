// The theme: the system's, or the one that was chosen in this browser.

import { useState } from "react";

const KEY = "zthumb-theme";

function prefersDark(): boolean {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}

/** Show the theme that was chosen before, if one was. */
export function applyTheme(): void {
  const chosen = localStorage.getItem(KEY);
  if (chosen) document.documentElement.dataset.theme = chosen;
}

export function useTheme(): [boolean, (isDark: boolean) => void] {
  const [isDark, setDark] = useState(
    () => (localStorage.getItem(KEY) ?? (prefersDark() ? "dark" : "light")) === "dark",
  );
  const choose = (next: boolean) => {
    localStorage.setItem(KEY, next ? "dark" : "light");
    applyTheme();
    setDark(next);
  };
  return [isDark, choose];
}
