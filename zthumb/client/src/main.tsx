import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { RouterProvider } from "@tanstack/react-router";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { router } from "./app/router";
import { applyTheme } from "./app/theme";
import "./components/base.css";

const queries = new QueryClient({ defaultOptions: { queries: { staleTime: 10_000, retry: 2 } } });
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
