// A map on a photo, pixel by pixel, and the line around its top: what report/render.py does.

import { planOf } from "./maps.js";

export const LARGEST = 1200;

/** Return for each of 256 strengths how much of the photo, of its muted grey (in 256ths), and which colour is drawn. */
export function blending(colours) {
  const levels = { photo: new Int32Array(256), muted: new Int32Array(256), rgb: new Int32Array(768) };
  for (let i = 0; i < 256; i++) {
    const s = i / 255;
    const heat = 0.75 * s ** 0.8;
    levels.photo[i] = Math.round(256 * s * (1 - heat));
    levels.muted[i] = Math.round(256 * (1 - s) * (1 - heat));
    // What rounding leaves over goes to the colour: the three sum to 256.
    const rest = 256 - levels.photo[i] - levels.muted[i];
    for (let k = 0; k < 3; k++) levels.rgb[3 * i + k] = rest * colours[3 * i + k] + 127;
  }
  return levels;
}

const opaque = (r, g, b) => (255 << 24) | (b << 16) | (g << 8) | r;

/** A photo at one size: its pixels, muted and hatched, and where each of them lies in the model's input. */
export class Layer {
  constructor(image, axes, levels) {
    const [width, height] = [axes.x.photo, axes.y.photo];
    this.levels = levels;
    this.plan = planOf(axes);
    this.canvas = document.createElement("canvas");
    Object.assign(this.canvas, { width, height });
    this.context = this.canvas.getContext("2d", { willReadFrequently: true });
    this.context.imageSmoothingQuality = "high";
    this.context.drawImage(image, 0, 0, width, height);
    this.pixels = this.context.getImageData(0, 0, width, height);
    this.photo = Uint8Array.from(this.pixels.data);
    this.muted = new Uint8Array(this.photo.length);
    this.hatch = new Uint32Array(width * height);
    const step = Math.max(8, Math.floor(Math.min(width, height) / 40));
    for (let at = 0, i = 0; at < this.photo.length; at += 4, i++) {
      const grey = 0.299 * this.photo[at] + 0.587 * this.photo[at + 1] + 0.114 * this.photo[at + 2];
      for (let k = 0; k < 3; k++) this.muted[at + k] = 0.75 * (0.4 * this.photo[at + k] + 0.6 * grey);
      const line = ((i % width) + Math.floor(i / width)) % step < Math.max(1, Math.floor(step / 8));
      this.hatch[i] = opaque(...Array(3).fill(line ? 150 : 0.35 * grey + 0.65 * 255));
    }
  }

  /** Draw one map left of a column and the other from there on: [{heat, top}, {heat, top}], heat as of `toPhoto`. */
  paint(left, right, column) {
    const { photo, muted, hatch } = this;
    const { photo: ofPhoto, muted: ofMuted, rgb } = this.levels;
    const { width, height, x: across, y: down } = this.plan;
    const out = new Uint32Array(this.pixels.data.buffer);
    const part = (one, from, to) => {
      const drawn = one && one.top > 0;
      const heat = drawn ? one.heat : null;
      const by = drawn ? 255 / one.top : 0;
      for (let y = 0; y < height; y++)
        for (let x = from, i = y * width + from; x < to; x++, i++) {
          if (!down.seen[y] || !across.seen[x]) {
            out[i] = hatch[i];
            continue;
          }
          let s = drawn ? (heat[i] * by) | 0 : 0;
          if (s > 255) s = 255;
          const a = ofPhoto[s];
          const b = ofMuted[s];
          const c = 3 * s;
          const at = 4 * i;
          out[i] = opaque((a * photo[at] + b * muted[at] + rgb[c]) >> 8, (a * photo[at + 1] + b * muted[at + 1] + rgb[c + 1]) >> 8, (a * photo[at + 2] + b * muted[at + 2] + rgb[c + 2]) >> 8);
        }
    };
    const border = Math.min(Math.max(column, 0), width);
    part(left, 0, border);
    part(right, border, width);
    this.context.putImageData(this.pixels, 0, 0);
    return this.canvas;
  }
}

/** Return the value that a share of the photo's pixels in the input are above; never below what is not zero. */
export function threshold(values, axes, share) {
  const inside = [];
  const [W, H] = [axes.x.input, axes.y.input];
  const on = (axis, i) => {
    const u = (i + 0.5 - axis.shift) / axis.scale;
    return u >= 0 && u < axis.photo;
  };
  const columns = Array.from({ length: W }, (_, j) => on(axes.x, j));
  for (let i = 0; i < H; i++) if (on(axes.y, i)) for (let j = 0; j < W; j++) if (columns[j]) inside.push(values[i * W + j]);
  const sorted = Float32Array.from(inside).sort();
  return sorted.length ? sorted[Math.max(0, Math.floor(sorted.length * (1 - share)) - 1)] : 0;
}

/** Return the line around what is above a value, as an SVG path in the picture's coordinates (marching squares). */
export function contour(values, axes, level) {
  const [W, H] = [axes.x.input, axes.y.input];
  const across = (x) => ((x + 0.5 - axes.x.shift) / axes.x.scale).toFixed(1);
  const down = (y) => ((y + 0.5 - axes.y.shift) / axes.y.scale).toFixed(1);
  const value = (i, j) => (i < 0 || j < 0 || i >= H || j >= W ? -1 : values[i * W + j] - level || -1e-12);
  const parts = [];
  for (let i = -1; i < H; i++)
    for (let j = -1; j < W; j++) {
      const corners = [value(i, j), value(i, j + 1), value(i + 1, j + 1), value(i + 1, j)];
      const above = corners[0] > 0;
      if (corners[1] > 0 === above && corners[2] > 0 === above && corners[3] > 0 === above) continue;
      const places = [[j, i, 1, 0], [j + 1, i, 0, 1], [j + 1, i + 1, -1, 0], [j, i + 1, 0, -1]];
      const points = [];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 4]];
        if (a > 0 === b > 0) continue;
        const [x, y, dx, dy] = places[k];
        const part = a / (a - b);
        const inside = (v, most) => Math.min(Math.max(v, -0.5), most - 0.5);
        points.push(`${across(inside(x + dx * part, W))} ${down(inside(y + dy * part, H))}`);
      }
      for (let k = 0; k + 1 < points.length; k += 2) parts.push(`M${points[k]}L${points[k + 1]}`);
    }
  return parts.join("");
}
