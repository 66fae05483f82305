// Cropping an image: a box is drawn on it, or typed; the whole image is kept and can be put back.

import { useMutation } from "@tanstack/react-query";
import { type PointerEvent, useState } from "react";
import { Button, Dialog, Heading, Modal, ModalOverlay } from "react-aria-components";
import { api, read } from "../api/client";
import { NumberBox } from "../components/fields";
import { type Box, between, corners, inside, isLargeEnough, type Size, square } from "./crop";
import styles from "./train-page.module.css";
import { type DatasetImage, imageSource } from "./upload";

interface Props {
  dataset: string;
  image: DatasetImage;
  onChange: () => Promise<void>;
}

export function CropDialog(props: Props) {
  return (
    <ModalOverlay isDismissable>
      <Modal>
        <Dialog>{({ close }) => <Crop {...props} close={close} />}</Dialog>
      </Modal>
    </ModalOverlay>
  );
}

function Crop({ dataset, image, onChange, close }: Props & { close: () => void }) {
  const [size, setSize] = useState<Size>();
  const [box, setBox] = useState<Box>();
  const crop = useMutation({
    mutationFn: (chosen: Box | null) =>
      read(
        api.PUT("/datasets/{name}/crops/{file}", {
          params: { path: { name: dataset, file: image.file } },
          body: { box: chosen && corners(chosen) },
        }),
      ),
    onSuccess: async () => {
      await onChange();
      close();
    },
  });
  const set = (changes: Partial<Box>) => box && size && setBox(inside({ ...box, ...changes }, size));
  return (
    <div className={styles.crop}>
      <Heading slot="title">Crop {image.file}</Heading>
      <Drawing
        source={imageSource(dataset, image)}
        alt={image.caption ?? image.file}
        box={box}
        size={size}
        onBox={setBox}
        onSize={(found) => {
          setSize(found);
          setBox({ left: 0, top: 0, ...found });
        }}
      />
      {box && size && (
        <div className={styles.numbers}>
          {numbers(box, size).map(([label, key, max]) => (
            <NumberBox
              key={key}
              isPlain
              label={label}
              value={box[key]}
              onChange={(value = 0) => set({ [key]: value })}
              min={0}
              max={max}
            />
          ))}
        </div>
      )}
      {crop.isError && (
        <p className="fault" role="alert">
          {crop.error.message}
        </p>
      )}
      <div className="row">
        <Button
          className="react-aria-Button primary"
          onPress={() => box && crop.mutate(box)}
          isDisabled={!box || !isLargeEnough(box) || crop.isPending}
        >
          Crop
        </Button>
        <Button onPress={() => box && setBox(square(box))}>Square</Button>
        {image.is_cropped && <Button onPress={() => crop.mutate(null)}>Put the whole image back</Button>}
        <Button onPress={close}>Close</Button>
      </div>
    </div>
  );
}

/** The numbers of a box, each with the most that it can be. */
function numbers(box: Box, image: Size): [string, keyof Box, number][] {
  return [
    ["Left", "left", image.width],
    ["Top", "top", image.height],
    ["Width", "width", image.width - box.left],
    ["Height", "height", image.height - box.top],
  ];
}

interface DrawingProps {
  source: string;
  alt: string;
  box: Box | undefined;
  size: Size | undefined;
  onBox: (box: Box) => void;
  onSize: (size: Size) => void;
}

function Drawing({ source, alt, box, size, onBox, onSize }: DrawingProps) {
  const [start, setStart] = useState<{ x: number; y: number }>();
  const point = (event: PointerEvent<HTMLDivElement>) => {
    const shown = event.currentTarget.getBoundingClientRect();
    return {
      x: ((event.clientX - shown.left) / shown.width) * (size?.width ?? 0),
      y: ((event.clientY - shown.top) / shown.height) * (size?.height ?? 0),
    };
  };
  const percent = (value: number, of: number) => `${(100 * value) / of}%`;
  return (
    <div
      className={styles.drawing}
      onPointerDown={(event) => {
        event.currentTarget.setPointerCapture(event.pointerId);
        setStart(point(event));
      }}
      onPointerMove={(event) => {
        if (!start || !size) return;
        const drawn = between(start, point(event), size);
        // A click alone draws nothing.
        if (isLargeEnough(drawn)) onBox(drawn);
      }}
      onPointerUp={() => setStart(undefined)}
    >
      <img
        src={source}
        alt={alt}
        draggable={false}
        onLoad={(event) =>
          onSize({ width: event.currentTarget.naturalWidth, height: event.currentTarget.naturalHeight })
        }
      />
      {box && size && (
        <span
          className={styles.box}
          style={{
            left: percent(box.left, size.width),
            top: percent(box.top, size.height),
            width: percent(box.width, size.width),
            height: percent(box.height, size.height),
          }}
        />
      )}
    </div>
  );
}
