// A hard mask of a photo's size that is drawn into, with undo. A pixel is drawn when its middle lies
// in the shape. Points are in photo pixels: (0, 0) is the corner of the first pixel.
"use strict";

const MOST_HISTORY = 96 * 2 ** 20; // bytes of packed patches; the oldest ones go

/** One bit a pixel, row by row, the first pixel in the highest bit: as numpy.packbits has it. */
function packBits(pixels) {
  const bits = new Uint8Array(Math.ceil(pixels.length / 8));
  for (let i = 0; i < pixels.length; i++) if (pixels[i]) bits[i >> 3] |= 128 >> (i & 7);
  return bits;
}

function unpackBits(bits, pixels) {
  for (let i = 0; i < pixels.length; i++) pixels[i] = (bits[i >> 3] >> (7 - (i & 7))) & 1;
}

/** The smallest box of whole pixels around both; boxes are {left, top, right, bottom}, right and
 * bottom excluded, or null for nothing. */
function union(one, other) {
  if (!one || !other) return one ?? other;
  return {
    left: Math.min(one.left, other.left), top: Math.min(one.top, other.top),
    right: Math.max(one.right, other.right), bottom: Math.max(one.bottom, other.bottom),
  };
}

class Mask {
  constructor(width, height) {
    Object.assign(this, { width, height, area: 0 });
    this.pixels = new Uint8Array(width * height); // 1 on the object
    this.kept = new Uint8Array(width * height); // as `pixels` were when last committed
    this.changed = null; // the box that was drawn in since then
    this.past = [];
    this.future = [];
  }

  /** Start from a saved mask. */
  load(bits) {
    unpackBits(bits, this.pixels);
    this.kept.set(this.pixels);
    this._count();
  }

  packed() {
    return packBits(this.pixels);
  }

  /** Everything within `radius` of the line between two points. Returns the box it lies in. */
  stroke(from, to, radius, value) {
    const box = this._box([from, to], radius);
    const dx = to.x - from.x, dy = to.y - from.y;
    const length = dx * dx + dy * dy, reach = radius * radius;
    for (let y = box.top; y < box.bottom; y++) {
      const py = y + 0.5 - from.y;
      for (let x = box.left; x < box.right; x++) {
        const px = x + 0.5 - from.x;
        const part = length ? Math.min(1, Math.max(0, (px * dx + py * dy) / length)) : 0;
        const ex = px - part * dx, ey = py - part * dy;
        if (ex * ex + ey * ey <= reach) this.pixels[y * this.width + x] = value;
      }
    }
    return this._drawn(box);
  }

  /** The inside of a closed line, all of what it goes around (nonzero winding). */
  polygon(points, value) {
    const box = this._box(points, 0);
    for (let y = box.top; y < box.bottom; y++) {
      const row = y * this.width;
      let winding = 0, start = 0;
      for (const crossing of crossings(points, y + 0.5)) {
        if (winding === 0) start = crossing.x;
        winding += crossing.way;
        if (winding === 0) {
          const left = Math.max(0, Math.ceil(start - 0.5));
          const right = Math.min(this.width, Math.ceil(crossing.x - 0.5));
          if (right > left) this.pixels.fill(value, row + left, row + right);
        }
      }
    }
    return this._drawn(box);
  }

  clear() {
    this.pixels.fill(0);
    return this._drawn({ left: 0, top: 0, right: this.width, bottom: this.height });
  }

  /** Make what was drawn one step that can be undone; false when it changed nothing. */
  commit() {
    const box = this._tight(this.changed);
    this.changed = null;
    if (!box) return false;
    this.past.push(this._patch(box, this.kept));
    this._copy(box, this.pixels, this.kept);
    this.future = [];
    let bytes = this.past.reduce((sum, patch) => sum + patch.bits.length, 0);
    while (bytes > MOST_HISTORY && this.past.length > 1) bytes -= this.past.shift().bits.length;
    this._count();
    return true;
  }

  /** Forget what was drawn since the last commit. */
  revert() {
    const box = this.changed;
    if (box) this._copy(box, this.kept, this.pixels);
    this.changed = null;
    return box;
  }

  undo() {
    return this._swap(this.past, this.future);
  }

  redo() {
    return this._swap(this.future, this.past);
  }

  /** Put the last patch of `from` in its place, and what it replaces on `to`. */
  _swap(from, to) {
    const patch = from.pop();
    if (!patch) return null;
    to.push(this._patch(patch.box, this.pixels));
    const { left, top, right, bottom } = patch.box;
    const before = new Uint8Array((right - left) * (bottom - top));
    unpackBits(patch.bits, before);
    for (let y = top, at = 0; y < bottom; y++, at += right - left) {
      this.pixels.set(before.subarray(at, at + right - left), y * this.width + left);
    }
    this._copy(patch.box, this.pixels, this.kept);
    this._count();
    return patch.box;
  }

  _patch(box, pixels) {
    const { left, top, right, bottom } = box;
    const inside = new Uint8Array((right - left) * (bottom - top));
    for (let y = top, at = 0; y < bottom; y++, at += right - left) {
      inside.set(pixels.subarray(y * this.width + left, y * this.width + right), at);
    }
    return { box, bits: packBits(inside) };
  }

  _copy(box, from, to) {
    for (let y = box.top; y < box.bottom; y++) {
      const start = y * this.width + box.left;
      to.set(from.subarray(start, start + box.right - box.left), start);
    }
  }

  /** The smallest box around what really changed in `box`. */
  _tight(box) {
    let found = null;
    if (!box) return found;
    for (let y = box.top; y < box.bottom; y++) {
      const row = y * this.width;
      let left = box.left, right = box.right;
      while (left < right && this.pixels[row + left] === this.kept[row + left]) left++;
      while (right > left && this.pixels[row + right - 1] === this.kept[row + right - 1]) right--;
      if (left < right) found = union(found, { left, top: y, right, bottom: y + 1 });
    }
    return found;
  }

  /** The pixels whose middles may be within `radius` of the points or between them. */
  _box(points, radius) {
    const xs = points.map((point) => point.x), ys = points.map((point) => point.y);
    const within = (value, most) => Math.min(most, Math.max(0, value));
    return {
      left: within(Math.floor(least(xs) - radius), this.width),
      top: within(Math.floor(least(ys) - radius), this.height),
      right: within(Math.ceil(most(xs) + radius), this.width),
      bottom: within(Math.ceil(most(ys) + radius), this.height),
    };
  }

  _drawn(box) {
    if (box.left >= box.right || box.top >= box.bottom) return null;
    this.changed = union(this.changed, box);
    return box;
  }

  _count() {
    let area = 0;
    for (let i = 0; i < this.pixels.length; i++) area += this.pixels[i];
    this.area = area;
  }
}

const least = (values) => values.reduce((a, b) => Math.min(a, b));
const most = (values) => values.reduce((a, b) => Math.max(a, b));

/** Where the closed line crosses the height `y`, from left to right, and whether down or up. */
function crossings(points, y) {
  const found = [];
  for (let i = 0; i < points.length; i++) {
    const a = points[i], b = points[(i + 1) % points.length];
    if (a.y <= y === b.y <= y) continue;
    found.push({ x: a.x + ((y - a.y) / (b.y - a.y)) * (b.x - a.x), way: a.y <= y ? 1 : -1 });
  }
  return found.sort((one, other) => one.x - other.x);
}
