// The addresses of the pages. What a page shows is in its address; all but the first are loaded when they are opened.

import { createRootRoute, createRoute, createRouter, lazyRouteComponent } from "@tanstack/react-router";
import { compareFromSearch } from "../compare/plan";
import { CreatePage } from "../create/create-page";
import { fromSearch } from "../create/form";
import { filterFromSearch } from "../gallery/gallery-filter";
import { libraryFromSearch } from "../library/library-filter";
import { trainFromSearch } from "../train/train-search";
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
  component: lazyRouteComponent(() => import("../compare/compare-page"), "ComparePage"),
  validateSearch: compareFromSearch,
});
const train = createRoute({
  getParentRoute: () => root,
  path: "/train",
  component: lazyRouteComponent(() => import("../train/train-page"), "TrainPage"),
  validateSearch: trainFromSearch,
});
const gallery = createRoute({
  getParentRoute: () => root,
  path: "/gallery",
  component: lazyRouteComponent(() => import("../gallery/gallery-page"), "GalleryPage"),
  validateSearch: filterFromSearch,
});
const library = createRoute({
  getParentRoute: () => root,
  path: "/library",
  component: lazyRouteComponent(() => import("../library/library-page"), "LibraryPage"),
  validateSearch: libraryFromSearch,
});
const system = createRoute({
  getParentRoute: () => root,
  path: "/system",
  component: lazyRouteComponent(() => import("../system/system-page"), "SystemPage"),
});

export const router = createRouter({
  routeTree: root.addChildren([create, compare, train, gallery, library, system]),
  basepath: new URL(".", document.baseURI).pathname,
  defaultPreload: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
