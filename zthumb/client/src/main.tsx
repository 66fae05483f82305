import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { ApiError } from "./api/client";
import { router } from "./app/router";
import { applyTheme } from "./app/theme";
import "./components/base.css";

const AWAY = [0, 502, 503, 504];
/** A server that is away or still loads its base is asked again for some minutes; what it refuses is shown at once. */
function asksAgain(count: number, error: Error): boolean {
  if (!(error instanceof ApiError)) return count < 2;
  return AWAY.includes(error.status) && count < 300;
}

const queries = new QueryClient({
  defaultOptions: { queries: { staleTime: 10_000, retry: asksAgain, retryDelay: 1000 } },
});
const root = document.getElementById("root");
applyTheme();
if (root) {
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <RouterProvider router={router} />
      </QueryClientProvider>
    </StrictMode>,
  );
}
