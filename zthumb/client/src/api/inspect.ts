// The parameters in an image's file, of whichever program wrote it.

import { ApiError, address } from "./client";
import { parseWithSeeds } from "./seeds";

export interface Inspected {
  program: string;
  parameters: Record<string, unknown>;
}

export async function inspect(file: File): Promise<Inspected> {
  const answer = await fetch(address("/images/inspect"), {
    method: "POST",
    body: file,
    headers: { "Content-Type": file.type || "application/octet-stream" },
  });
  const body = parseWithSeeds(await answer.text()) as Partial<Inspected> & { detail?: string };
  if (!answer.ok || !body.parameters) throw new ApiError(answer.status, body.detail ?? "this image has no parameters.");
  return { program: body.program ?? "", parameters: body.parameters };
}
