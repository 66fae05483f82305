// Boxes in an image, in its own pixels.

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

export interface Size {
  width: number;
  height: number;
}

export const SMALLEST = 16;

/** The box between two corners, inside the image. */
export function between(one: { x: number; y: number }, other: { x: number; y: number }, image: Size): Box {
  const within = (value: number, most: number) => Math.min(Math.max(Math.round(value), 0), most);
  const [left, right] = [within(Math.min(one.x, other.x), image.width), within(Math.max(one.x, other.x), image.width)];
  const [top, bottom] = [
    within(Math.min(one.y, other.y), image.height),
    within(Math.max(one.y, other.y), image.height),
  ];
  return { left, top, width: right - left, height: bottom - top };
}

/** A box as far as it is inside the image: what is moved to the right or down gets narrower or lower. */
export function inside(box: Box, image: Size): Box {
  const left = Math.min(box.left, image.width - 1);
  const top = Math.min(box.top, image.height - 1);
  return {
    left,
    top,
    width: Math.min(box.width, image.width - left),
    height: Math.min(box.height, image.height - top),
  };
}

/** The largest square in the middle of a box. */
export function square(box: Box): Box {
  const edge = Math.min(box.width, box.height);
  return {
    left: box.left + Math.floor((box.width - edge) / 2),
    top: box.top + Math.floor((box.height - edge) / 2),
    width: edge,
    height: edge,
  };
}

export function isLargeEnough(box: Box): boolean {
  return box.width >= SMALLEST && box.height >= SMALLEST;
}

/** Left, top, right and bottom, as the server takes a box. */
export function corners(box: Box): [number, number, number, number] {
  return [box.left, box.top, box.left + box.width, box.top + box.height];
}
