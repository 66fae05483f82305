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
  const inside = (value: number, most: number) => Math.min(Math.max(Math.round(value), 0), most);
  const [left, right] = [inside(Math.min(one.x, other.x), image.width), inside(Math.max(one.x, other.x), image.width)];
  const [top, bottom] = [
    inside(Math.min(one.y, other.y), image.height),
    inside(Math.max(one.y, other.y), image.height),
  ];
  return { left, top, width: right - left, height: bottom - top };
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
