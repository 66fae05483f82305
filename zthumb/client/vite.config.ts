import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// The server that the page of `npm run dev` talks to.
const SERVER = process.env.ZTHUMB_SERVER ?? "http://127.0.0.1:8000";
const ROUTES = ["events", "generate", "jobs", "images", "models", "capabilities", "presets", "session", "health", "adapters", "reports"];

export default defineConfig({
  base: "./",
  plugins: [
    react(),
    {
      name: "page-without-a-server",
      apply: "serve",
      transformIndexHtml: (html) => html.replace("__BASE__", "/").replaceAll("__NONCE__", ""),
    },
  ],
  server: {
    port: 3000,
    strictPort: true,
    proxy: Object.fromEntries(ROUTES.map((route) => [`/${route}`, { target: SERVER, changeOrigin: false }])),
  },
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 800,
    rollupOptions: {
      output: {
        // What every page needs and what changes seldom stays in the browser's cache; the rest comes with the page that needs it.
        manualChunks: (id) => (/node_modules\/(react|react-dom|scheduler|@tanstack)\//.test(id) ? "vendor" : undefined),
      },
    },
  },
});
