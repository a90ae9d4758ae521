// The photo, its mask and the line that is being drawn, zoomed and moved: three canvases, one above
// the other. However large the photo is, a frame costs what the window's own pixels cost.
"use strict";

const PINK = [255, 40, 130]; // of the sheets' outlines
const FILL = 0.36, SHADE = [14, 16, 22, 0.72]; // strength over the object; over the background
const MOST_ZOOM = 32; // screen pixels for a pixel of the photo
const MARGIN = 24; // px around a photo that fits
const PIXELATED = 4; // zoom from which the photo's pixels are shown as squares

/** ImageData's pixel as a number; every machine with a browser is little endian. */
const packed = (red, green, blue, alpha) =>
  ((Math.round(255 * alpha) << 24) | (blue << 16) | (green << 8) | red) >>> 0;

class Stage {
  constructor(element) {
    this.element = element;
    this.canvases = ["photo", "mask", "line"].map((name) => element.querySelector(`#${name}`));
    this.contexts = this.canvases.map((canvas) => canvas.getContext("2d"));
    this.zoom = 1; // screen pixels (of CSS) for a pixel of the photo
    this.left = 0; // where the photo's corner is, in CSS pixels
    this.top = 0;
    this.look = "tint"; // or "cutout", "photo"
    this.drawLine = () => {}; // what the tool shows; gets the context, in CSS pixels
    this.pending = new Set();
    this.levels = [];
    new ResizeObserver(() => this._resize()).observe(element);
    this._resize();
  }

  /** image: decoded; mask: of the photo's own size, which may be larger. */
  show(image, mask) {
    this.mask = mask;
    // Half, a quarter, ...: zoomed out, the photo is drawn from few pixels, and smoothly.
    this.levels = [image];
    for (let source = image, size = [image.naturalWidth, image.naturalHeight]; Math.max(...size) > 1024;) {
      size = size.map((side) => Math.max(1, Math.round(side / 2)));
      const canvas = Object.assign(document.createElement("canvas"), { width: size[0], height: size[1] });
      canvas.getContext("2d").drawImage(source, 0, 0, ...size);
      this.levels.push(canvas);
      source = canvas;
    }
    this.fit();
  }

  empty() {
    this.mask = null;
    this.levels = [];
    this.draw("photo", "mask", "line");
  }

  toPhoto(x, y) {
    return { x: (x - this.left) / this.zoom, y: (y - this.top) / this.zoom };
  }

  toScreen({ x, y }) {
    return { x: this.left + x * this.zoom, y: this.top + y * this.zoom };
  }

  fit() {
    if (!this.mask) return;
    const { width, height } = this.mask;
    const room = (side) => Math.max(1, side - 2 * MARGIN);
    this.zoom = this.fitted = Math.min(room(this.width) / width, room(this.height) / height, MOST_ZOOM);
    this.left = (this.width - width * this.zoom) / 2;
    this.top = (this.height - height * this.zoom) / 2;
    this._moved();
  }

  /** Zoom by a factor; what is at (x, y) of the screen stays there. */
  zoomBy(factor, x = this.width / 2, y = this.height / 2) {
    if (!this.mask) return;
    const zoom = Math.min(MOST_ZOOM, Math.max(this.fitted / 2, this.zoom * factor));
    const fixed = this.toPhoto(x, y);
    this.zoom = zoom;
    this.left = x - fixed.x * zoom;
    this.top = y - fixed.y * zoom;
    this._moved();
  }

  moveBy(dx, dy) {
    if (!this.mask) return;
    this.left += dx;
    this.top += dy;
    this._moved();
  }

  setLook(look) {
    this.look = look;
    this.draw("mask");
  }

  /** Draw these again with the next frame: "photo", "mask", "line". */
  draw(...what) {
    if (what.includes("mask")) this.dirty = "all";
    this._ask(what);
  }

  /** Draw again the part of the mask in a box of the photo. */
  drawBox(box) {
    if (!box) return;
    if (this.dirty !== "all") this.dirty = union(this.dirty ?? null, box);
    this._ask(["mask"]);
  }

  _ask(what) {
    if (!this.pending.size) requestAnimationFrame(() => this._frame());
    for (const name of what) this.pending.add(name);
  }

  _frame() {
    const pending = this.pending;
    this.pending = new Set();
    if (pending.has("photo")) this._drawPhoto();
    if (pending.has("mask")) this._drawMask();
    if (pending.has("line")) {
      const context = this.contexts[2];
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      this.drawLine(context);
    }
  }

  _moved() {
    // Some of the photo stays in view.
    const { width, height } = this.mask, keep = 40;
    const within = (value, side, room) => Math.min(room - keep, Math.max(keep - side * this.zoom, value));
    this.left = within(this.left, width, this.width);
    this.top = within(this.top, height, this.height);
    this.draw("photo", "mask", "line");
    this.element.dispatchEvent(new Event("moved"));
  }

  _resize() {
    const fitted = this.zoom === this.fitted;
    this.ratio = window.devicePixelRatio || 1;
    this.width = this.element.clientWidth;
    this.height = this.element.clientHeight;
    for (const canvas of this.canvases) {
      canvas.width = Math.max(1, Math.round(this.width * this.ratio));
      canvas.height = Math.max(1, Math.round(this.height * this.ratio));
    }
    if (this.mask && fitted) this.fit();
    else this.draw("photo", "mask", "line");
  }

  _drawPhoto() {
    const context = this.contexts[0], { width, height } = this.canvases[0];
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, width, height);
    if (!this.mask) return;
    const shown = (this.zoom * this.ratio * this.mask.width) / this.levels[0].naturalWidth;
    const level = Math.min(this.levels.length - 1, Math.max(0, Math.floor(-Math.log2(shown))));
    context.imageSmoothingEnabled = this.zoom < PIXELATED;
    context.imageSmoothingQuality = "medium";
    const box = [this.left, this.top, this.mask.width * this.zoom, this.mask.height * this.zoom];
    context.drawImage(this.levels[level], ...box.map((value) => value * this.ratio));
  }

  /** Colour the screen's pixels by the mask's pixels below their middles. */
  _drawMask() {
    const context = this.contexts[1], canvas = this.canvases[1];
    const dirty = this.dirty;
    this.dirty = null;
    if (!this.mask || this.look === "photo") {
      context.clearRect(0, 0, canvas.width, canvas.height);
      return;
    }
    const scale = this.zoom * this.ratio, left = this.left * this.ratio, top = this.top * this.ratio;
    const edge = Math.max(1, Math.round(1.5 * this.ratio)); // px of the outline
    const around = edge + 2;
    const within = (value, most) => Math.min(most, Math.max(0, Math.round(value)));
    const photo = { left: 0, top: 0, right: this.mask.width, bottom: this.mask.height };
    const box = dirty === "all" ? photo : dirty ?? photo;
    if (dirty === "all") context.clearRect(0, 0, canvas.width, canvas.height);
    const x0 = within(left + box.left * scale - around, canvas.width);
    const x1 = within(left + box.right * scale + around, canvas.width);
    const y0 = within(top + box.top * scale - around, canvas.height);
    const y1 = within(top + box.bottom * scale + around, canvas.height);
    if (x1 <= x0 || y1 <= y0) return;
    const picture = context.createImageData(x1 - x0, y1 - y0);
    this._colour(new Uint32Array(picture.data.buffer), { x0, y0, x1, y1 }, { scale, left, top, edge });
    context.putImageData(picture, x0, y0);
  }

  _colour(colours, { x0, y0, x1, y1 }, { scale, left, top, edge }) {
    const { width, height, pixels } = this.mask;
    const outline = packed(...PINK, 1);
    const inside = this.look === "tint" ? packed(...PINK, FILL) : 0;
    const outside = this.look === "tint" ? 0 : packed(...SHADE);
    const column = (x) => Math.floor((x + 0.5 - left) / scale);
    const row = (y) => Math.floor((y + 0.5 - top) / scale);
    // The mask's column below each of the screen's, and `edge` pixels to the left; -1 is beside it.
    const here = new Int32Array(x1 - x0), before = new Int32Array(x1 - x0);
    for (let x = x0; x < x1; x++) {
      const [a, b] = [column(x), column(x - edge)];
      here[x - x0] = a >= 0 && a < width ? a : -1;
      before[x - x0] = b >= 0 && b < width ? b : -1;
    }
    for (let y = y0, at = 0; y < y1; y++) {
      const [a, b] = [row(y), row(y - edge)];
      const start = a >= 0 && a < height ? a * width : -1;
      const above = b >= 0 && b < height ? b * width : -1;
      for (let i = 0; i < here.length; i++, at++) {
        const value = start >= 0 && here[i] >= 0 ? pixels[start + here[i]] : 0;
        const atLeft = start >= 0 && before[i] >= 0 ? pixels[start + before[i]] : 0;
        const atTop = above >= 0 && here[i] >= 0 ? pixels[above + here[i]] : 0;
        if (value !== atLeft || value !== atTop) colours[at] = outline;
        else if (value) colours[at] = inside;
        else if (start >= 0 && here[i] >= 0) colours[at] = outside;
      }
    }
  }
}
