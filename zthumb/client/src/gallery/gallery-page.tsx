// The gallery: all images the server keeps, in a grid that holds only those in sight.

import { useInfiniteQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { useEffect, useState } from "react";
import {
  Dialog,
  GridLayout,
  GridList,
  GridListItem,
  GridListLoadMoreItem,
  Modal,
  ModalOverlay,
  Size,
  Virtualizer,
} from "react-aria-components";
import { address, api, type GalleryImage, read, type Schemas } from "../api/client";
import { useServer } from "../api/jobs";
import { Choice, TextBox } from "../components/fields";
import { shortName } from "../create/form";
import { FileViewer } from "./file-viewer";
import { filterFromSearch, type GalleryFilter } from "./gallery-filter";
import styles from "./gallery-page.module.css";
import { Details } from "./image-dialog";

const PAGE = 100;
const EDGE = 384;
const STARS = ["1", "2", "3", "4", "5"];

export function GalleryPage() {
  const filter = useSearch({ from: "/gallery" });
  const navigate = useNavigate({ from: "/gallery" });
  const change = (changes: Partial<GalleryFilter>) =>
    void navigate({ search: filterFromSearch({ ...filter, ...changes }), replace: true });
  const { images, models, adapters, isLoading, error, more } = useImages(filter);
  const [shown, setShown] = useState<GalleryImage>();
  // An address may have the beginning of a hash alone.
  const chosenAdapter =
    adapters.find(({ sha256 }) => sha256.startsWith(filter.adapter ?? " "))?.sha256 ?? filter.adapter;

  return (
    <FileViewer className={styles.page}>
      <h1 className="hidden">Gallery</h1>
      <search className={styles.filter}>
        <TextBox label="Prompt" value={filter.text ?? ""} onChange={(text) => change({ text })} placeholder="any" />
        <Choice
          label="Rating"
          value={filter.rating && String(filter.rating) ? String(filter.rating) : undefined}
          onChange={(rating) => change({ rating: rating ? Number(rating) : undefined })}
          options={STARS}
          none="any"
        />
        {(models.length > 1 || filter.model) && (
          <Choice
            label="Base"
            value={filter.model}
            onChange={(model) => change({ model })}
            options={models}
            none="any"
          />
        )}
        {(adapters.length > 0 || filter.adapter) && (
          <Choice
            label="Adapter"
            value={chosenAdapter}
            onChange={(adapter) => change({ adapter })}
            options={adapters.map(({ sha256 }) => sha256)}
            labels={Object.fromEntries(adapters.map((adapter) => [adapter.sha256, labelOf(adapter)]))}
            none="any"
          />
        )}
      </search>
      {error && <p className="fault">{error.message}</p>}
      <Virtualizer
        layout={GridLayout}
        layoutOptions={{
          minItemSize: new Size(150, 150),
          maxItemSize: new Size(260, 260),
          preserveAspectRatio: true,
          minSpace: new Size(8, 8),
        }}
      >
        <GridList
          aria-label="Images"
          layout="grid"
          className={styles.grid}
          onAction={(key) => setShown(images.find((image) => image.id === key))}
          renderEmptyState={() => (
            <p className={`quiet ${styles.empty}`}>{isLoading ? "Reading…" : "There are no such images."}</p>
          )}
        >
          {images.map((image) => (
            <GridListItem key={image.id} id={image.id} textValue={image.prompt} className={styles.item}>
              <img src={address(`${image.path}/thumbnail?edge=${EDGE}`)} alt={image.prompt} loading="lazy" />
              {image.rating > 0 && <span className={styles.rating}>{"★".repeat(image.rating)}</span>}
            </GridListItem>
          ))}
          <GridListLoadMoreItem onLoadMore={more} isLoading={isLoading} scrollOffset={3}>
            <span className="quiet">Reading…</span>
          </GridListLoadMoreItem>
        </GridList>
      </Virtualizer>
      <ModalOverlay
        isDismissable
        isOpen={shown !== undefined}
        onOpenChange={(isOpen) => !isOpen && setShown(undefined)}
      >
        <Modal>
          <Dialog>
            {shown && (
              <>
                <Details id={shown.id} path={shown.path} prompt={shown.prompt} close={() => setShown(undefined)} />
                <Rating image={shown} />
              </>
            )}
          </Dialog>
        </Modal>
      </ModalOverlay>
    </FileViewer>
  );
}

/** The name of an adapter, and its hash: a file of that name may have been another one before. */
function labelOf({ path, sha256 }: Schemas["GalleryAdapter"]): string {
  return `${shortName(path)} · ${sha256.slice(0, 8)}`;
}

function useImages(filter: GalleryFilter) {
  const queries = useQueryClient();
  const { ended } = useServer();
  const found = useInfiniteQuery({
    queryKey: ["images", filter],
    queryFn: ({ pageParam }) =>
      read(
        api.GET("/images", { params: { query: { ...filter, limit: PAGE, ...(pageParam && { before: pageParam }) } } }),
      ),
    initialPageParam: 0,
    getNextPageParam: (last) => last.next ?? undefined,
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: new images are read whenever a job has ended.
  useEffect(() => {
    void queries.invalidateQueries({ queryKey: ["images"] });
  }, [ended]);
  return {
    images: found.data?.pages.flatMap((page) => page.images) ?? [],
    models: found.data?.pages[0]?.models ?? [],
    adapters: found.data?.pages[0]?.adapters ?? [],
    isLoading: found.isLoading || found.isFetchingNextPage,
    error: found.error,
    more: () => {
      if (found.hasNextPage && !found.isFetchingNextPage) void found.fetchNextPage();
    },
  };
}

function Rating({ image }: { image: GalleryImage }) {
  const queries = useQueryClient();
  const [rating, setRating] = useState(image.rating);
  const rate = async (value: number) => {
    const next = value === rating ? 0 : value;
    setRating(next);
    await read(api.PATCH("/images/{image}", { params: { path: { image: image.id } }, body: { rating: next } }));
    void queries.invalidateQueries({ queryKey: ["images"] });
  };
  return (
    <fieldset className={styles.stars} aria-label="Rating">
      {STARS.map((star) => (
        <button
          key={star}
          type="button"
          aria-label={`${star} of 5`}
          aria-pressed={Number(star) <= rating}
          onClick={() => void rate(Number(star))}
        >
          {Number(star) <= rating ? "★" : "☆"}
        </button>
      ))}
    </fieldset>
  );
}
