// Images and caption files on their way to a data set: one file a request, captions after the image of their name.

import { ApiError, address, api, read, type Schemas } from "../api/client";

export type DatasetImage = Schemas["DatasetImageEntry"];

export interface UploadState {
  done: number;
  total: number;
  /** What was refused, each in one line. */
  refused: string[];
}

function stem(name: string): string {
  return name.replace(/\.[^.]+$/, "");
}

/** Images first, then captions; what is neither is left to the server, which says why. */
export function ordered(files: readonly File[]): File[] {
  const isCaption = (file: File) => /\.(txt|caption)$/i.test(file.name);
  return [...files.filter((file) => !isCaption(file)), ...files.filter(isCaption)];
}

async function addImage(dataset: string, file: File): Promise<DatasetImage> {
  const answer = await fetch(address(imagePath(dataset, file.name)), { method: "PUT", body: file });
  const body = (await answer.json()) as DatasetImage & { detail?: string };
  if (!answer.ok) throw new ApiError(answer.status, body.detail ?? `${file.name}: status ${answer.status}`);
  return body;
}

/** Send `files` one after another; `images` are those that the data set has, `refused` what was refused before. */
export async function upload(
  dataset: string,
  files: readonly File[],
  images: readonly DatasetImage[],
  onChange: (state: UploadState) => void,
  refused: readonly string[] = [],
): Promise<void> {
  const state: UploadState = { done: 0, total: files.length, refused: [...refused] };
  const byStem = new Map(images.map((image) => [stem(image.file), image.file]));
  for (const file of ordered(files)) {
    onChange({ ...state });
    try {
      if (/\.(txt|caption)$/i.test(file.name)) {
        const image = byStem.get(stem(file.name));
        if (image === undefined) throw new ApiError(422, `${file.name}: there is no image of that name.`);
        await setCaption(dataset, image, await file.text());
      } else {
        const added = await addImage(dataset, file);
        byStem.set(stem(added.file), added.file);
      }
    } catch (error) {
      state.refused = [...state.refused, error instanceof Error ? error.message : String(error)];
    }
    state.done += 1;
  }
  onChange({ ...state });
}

export function setCaption(name: string, file: string, caption: string): Promise<DatasetImage> {
  return read(api.PUT("/datasets/{name}/captions/{file}", { params: { path: { name, file } }, body: { caption } }));
}

export function imagePath(dataset: string, file: string): string {
  return `/datasets/${encodeURIComponent(dataset)}/images/${file.split("/").map(encodeURIComponent).join("/")}`;
}

/** The address of an image in a data set, which changes when the image does. */
export function imageSource(dataset: string, image: DatasetImage, edge?: number): string {
  const query = new URLSearchParams({ version: image.version, ...(edge && { edge: String(edge) }) });
  return address(`${imagePath(dataset, image.file)}?${query}`);
}
