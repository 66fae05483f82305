import { describe, expect, it } from "vitest";
import { between, corners, inside, isLargeEnough, square } from "./crop";

const IMAGE = { width: 200, height: 100 };

describe("a box", () => {
  it("is drawn from any corner to any other, and ends at the image's edge", () => {
    expect(between({ x: 150, y: 90 }, { x: -20, y: 10 }, IMAGE)).toEqual({ left: 0, top: 10, width: 150, height: 80 });
    expect(between({ x: 190.4, y: 0 }, { x: 300, y: 500 }, IMAGE)).toEqual({
      left: 190,
      top: 0,
      width: 10,
      height: 100,
    });
  });

  it("that is moved by its numbers stays inside the image", () => {
    expect(inside({ left: 50, top: 20, width: 200, height: 100 }, IMAGE)).toEqual({
      left: 50,
      top: 20,
      width: 150,
      height: 80,
    });
  });

  it("becomes a square around its middle", () => {
    expect(square({ left: 10, top: 0, width: 100, height: 60 })).toEqual({ left: 30, top: 0, width: 60, height: 60 });
  });

  it("is too small for an image below sixteen pixels", () => {
    expect(isLargeEnough({ left: 0, top: 0, width: 15, height: 100 })).toBe(false);
    expect(isLargeEnough({ left: 0, top: 0, width: 16, height: 16 })).toBe(true);
  });

  it("is sent by its corners", () => {
    expect(corners({ left: 10, top: 20, width: 30, height: 40 })).toEqual([10, 20, 40, 60]);
  });
});
