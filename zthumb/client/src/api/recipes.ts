// The recipes of this server, and the sets of prompts that an adapter can be judged with.

import { useQuery } from "@tanstack/react-query";
import { api, read, type Schemas } from "./client";

const NONE: Schemas["RecipesResponse"] = { recipes: [], prompts: [] };

export function useRecipes(): Schemas["RecipesResponse"] {
  return useQuery({ queryKey: ["recipes"], queryFn: () => read(api.GET("/recipes")) }).data ?? NONE;
}
