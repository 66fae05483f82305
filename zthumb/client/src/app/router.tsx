// The addresses of the pages. What a page shows is in its address.

import { createRootRoute, createRoute, createRouter } from "@tanstack/react-router";
import { ComparePage } from "../compare/compare-page";
import { compareFromSearch } from "../compare/plan";
import { CreatePage } from "../create/create-page";
import { fromSearch } from "../create/form";
import { filterFromSearch } from "../gallery/gallery-filter";
import { GalleryPage } from "../gallery/gallery-page";
import { libraryFromSearch } from "../library/library-filter";
import { LibraryPage } from "../library/library-page";
import { SystemPage } from "../system/system-page";
import { Layout } from "./layout";

const root = createRootRoute({ component: Layout });

const create = createRoute({
  getParentRoute: () => root,
  path: "/",
  component: CreatePage,
  validateSearch: fromSearch,
});
const compare = createRoute({
  getParentRoute: () => root,
  path: "/compare",
  component: ComparePage,
  validateSearch: compareFromSearch,
});
const gallery = createRoute({
  getParentRoute: () => root,
  path: "/gallery",
  component: GalleryPage,
  validateSearch: filterFromSearch,
});
const library = createRoute({
  getParentRoute: () => root,
  path: "/library",
  component: LibraryPage,
  validateSearch: libraryFromSearch,
});
const system = createRoute({ getParentRoute: () => root, path: "/system", component: SystemPage });

export const router = createRouter({
  routeTree: root.addChildren([create, compare, gallery, library, system]),
  basepath: new URL(".", document.baseURI).pathname,
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
