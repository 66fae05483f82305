// The server's API, typed by its own description. All paths are relative to the page's base, which a proxy may move.

import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type JobEntry = Schemas["JobEntry"];
export type GalleryImage = Schemas["GalleryImage"];

const BASE = new URL(".", document.baseURI);

/** The address of a path that the server named, such as /images/…. */
export function address(path: string): string {
  return new URL(path.replace(/^\//, ""), BASE).href;
}

export const api = createClient<paths>({ baseUrl: BASE.href.replace(/\/$/, "") });

/** What the server refused, in its own words. `status` is 0 where it could not be reached. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** The data of an answer; throws `ApiError` if there is none. */
export async function read<T>(asked: Promise<Answer<T>>): Promise<T> {
  let answer: Answer<T>;
  try {
    answer = await asked;
  } catch {
    throw new ApiError(0, "The server cannot be reached.");
  }
  if (!answer.response.ok) {
    const detail = (answer.error as { detail?: unknown } | undefined)?.detail;
    throw new ApiError(
      answer.response.status,
      typeof detail === "string" ? detail : `status ${answer.response.status}`,
    );
  }
  return answer.data as T;
}
