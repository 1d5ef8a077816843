// The live view of explanations: their kept evidence, asked again without the model.
//
// One ES module without dependencies, in anywidget's shape. First what is computed (pure functions, which do what
// finercam.contrast, methods/maps.py and data/placement.py do), then what is drawn, then what is on the screen.
// Names are others' text: they are set as text only.

// ---------------------------------------------------------------- data

/** Return the bytes of base64 text. */
export function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  if (typeof DecompressionStream === "undefined")
    throw new Error("this browser is too old to read the maps; use one from 2023 or later");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return the maps of a table: {shape: [n, h, w], map(i) -> Float32Array(h * w)}. */
export async function decodeTable(table) {
  const [n, h, w] = table.shape;
  const size = h * w;
  const packed = await inflated(bytesOf(table.values));
  if (packed.byteLength !== 2 * n * size) throw new Error("the maps in this page are damaged");
  const values = new Int16Array(packed.buffer);
  const mean = table.mean ? new Float32Array(bytesOf(table.mean).buffer) : new Float32Array(size);
  const map = (i) => {
    const found = new Float32Array(size);
    for (let j = 0; j < size; j++) found[j] = mean[j] + values[i * size + j] * table.scale[i];
    return found;
  };
  return { shape: [n, h, w], map };
}

// ---------------------------------------------------------------- the question (contrast/contrast.py)

/** Return the weight of each reference, as Contrast does. `logits` are those of the references. */
export function sharesOf(logits, weighting) {
  if (weighting === "mean") return logits.map(() => 1 / logits.length);
  const values = logits.map((y) => y ?? -Infinity);
  const top = Math.max(...values);
  const powers = values.map((y) => Math.exp(y - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  const q = powers.map((p) => p / sum);
  if (weighting === "softmax") return q;
  const finite = values.map((y) => (Number.isFinite(y) ? y : 0));
  const mean = q.reduce((total, share, t) => total + share * finite[t], 0);
  return q.map((share, t) => share * (1 + finite[t] - mean));
}

/**
 * Return the rows of coefficients of a question: [{weights: [[class, coefficient], ...], share}, ...], one, or one per
 * reference where maps are combined later.
 */
export function rows(question, kept) {
  const { target, references, gamma, reverse } = question;
  const weighting = question.weighting ?? "mean";
  const aggregate = question.aggregate ?? "mean";
  const logits = references.map((c) => kept.logits[kept.classes.indexOf(c)]);
  const share = sharesOf(logits, weighting);
  const row = (against) =>
    reverse
      ? [...against, [target, -gamma]]
      : [[target, 1], ...(gamma === 0 ? [] : against.map(([c, s]) => [c, -gamma * s]))];
  if (aggregate === "mean" || (gamma === 0 && !reverse))
    return [{ weights: row(references.map((c, t) => [c, share[t]])), share: 1 }];
  return references.map((c, t) => ({ weights: row([[c, 1]]), share: share[t] }));
}

/** Return the signed map of rows: their maps mixed, and then combined. `map(c)` is the map of a class. */
export function mix(asked, aggregate, map, size) {
  const each = asked.map(({ weights }) => {
    const found = new Float64Array(size);
    for (const [c, weight] of weights) {
      const one = map(c);
      for (let j = 0; j < size; j++) found[j] += weight * one[j];
    }
    return found;
  });
  if (each.length === 1 && aggregate !== "mean-after-relu") return each[0];
  const found = new Float64Array(size).fill(aggregate === "max" ? -Infinity : 0);
  each.forEach((one, r) => {
    for (let j = 0; j < size; j++)
      if (aggregate === "max") found[j] = Math.max(found[j], one[j]);
      else found[j] += asked[r].share * (aggregate === "mean-after-relu" ? Math.max(one[j], 0) : one[j]);
  });
  return found;
}

const sameClasses = (one, other) => one.length === other.length && one.every((c) => other.includes(c));

const sameQuestion = (one, other) =>
  sameClasses(one.references, other.references) &&
  ["gamma", "reverse"].every((name) => one[name] === other[name]) &&
  ["weighting", "aggregate"].every((name) => (one[name] ?? "mean") === (other[name] ?? "mean"));

/** Return the map at a strength between those of a table, and whether it was interpolated. */
function between(table, maps, gamma) {
  const { strengths } = table;
  const high = strengths.findIndex((s) => s >= gamma - 1e-9);
  if (high < 0 || gamma < strengths[0] - 1e-9) return null;
  if (Math.abs(strengths[high] - gamma) < 1e-9) return { map: maps.map(high), error: 0 };
  const part = (gamma - strengths[high - 1]) / (strengths[high] - strengths[high - 1]);
  const [a, b] = [maps.map(high - 1), maps.map(high)];
  return { map: a.map((v, j) => v + part * (b[j] - v)), error: table.error };
}

/**
 * Return the answer to a question: {map, error} with the signed map and the largest error of interpolating (over the
 * peak), or {cannot: why, do: what would answer it}.
 */
export function signedMap(answer, question, kept) {
  const [h, w] = answer.cells;
  if (answer.kind === "fixed") {
    const { asked } = kept;
    const same = question.target === asked.target && (question.plain || asked.objective || sameQuestion(question, asked));
    if (same) return { map: answer.table.map(question.plain ? 0 : 1), error: 0 };
    return { cannot: `${answer.title} was asked one question only`, do: "put it back with Reset, or run finercam again with this one" };
  }
  const { target, references, gamma, reverse } = question;
  const alone = gamma === 0 && !reverse;
  if (!references.length && !alone) return { cannot: "there is no class to compare with", do: "add a class to compare with" };
  if (answer.kind === "strengths") {
    const i = answer.tables.findIndex(
      (one) =>
        one.target === target &&
        (alone ? !one.reverse && one.strengths.some((s) => Math.abs(s) < 1e-9) : one.reverse === reverse) &&
        (alone || sameClasses(one.references, references)),
    );
    if (i < 0) return { cannot: `${answer.title} was not asked about these classes`, do: "run finercam again with them" };
    const found = between(answer.tables[i], answer.decoded[i], gamma);
    const { strengths } = answer.tables[i];
    return (
      found ?? {
        cannot: `${answer.title} was asked at strengths from ${strengths[0]} to ${strengths.at(-1)} only`,
        do: "choose one of these, or run finercam again with this one",
      }
    );
  }
  const classes = answer.classes ?? kept.classes;
  if (![target, ...(alone ? [] : references)].every((c) => classes.includes(c)))
    return { cannot: `${answer.title} was not asked about one of these classes`, do: "run finercam again with it" };
  const map = mix(rows(question, kept), question.aggregate ?? "mean", (c) => answer.table.map(classes.indexOf(c)), h * w);
  return { map, error: 0 };
}

// ---------------------------------------------------------------- maps and places (methods/maps.py, data/placement.py)

function steps(from, to) {
  const low = new Int32Array(to);
  const high = new Int32Array(to);
  const part = new Float64Array(to);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, ((i + 0.5) * from) / to - 0.5);
    low[i] = Math.min(Math.floor(at), from - 1);
    high[i] = Math.min(low[i] + 1, from - 1);
    part[i] = at - low[i];
  }
  return { low, high, part };
}

function interpolated(values, width, across, down) {
  const [columns, lines] = [across.low.length, down.low.length];
  const found = new Float32Array(columns * lines);
  const line = new Float64Array(width);
  for (let y = 0; y < lines; y++) {
    const [a, b, part] = [down.low[y] * width, down.high[y] * width, down.part[y]];
    for (let x = 0; x < width; x++) line[x] = values[a + x] + part * (values[b + x] - values[a + x]);
    const row = y * columns;
    for (let x = 0; x < columns; x++) {
      const v = line[across.low[x]];
      found[row + x] = v + across.part[x] * (line[across.high[x]] - v);
    }
  }
  return found;
}

/** Return the ReLU of a signed map of h x w cells, resized to H x W (cells as areas, corners not aligned). */
export function saliency(map, [h, w], [H, W]) {
  const positive = Float64Array.from(map, (v) => Math.max(v, 0));
  return interpolated(positive, w, steps(w, W), steps(h, H));
}

/** Return the axes of a picture of a size shown at [width, height]; without a placement the picture is the input. */
export function axesOf(placement, [H, W], [width, height]) {
  const axis = (one, shown, input) =>
    one ? { scale: (one.scale * one.photo) / shown, shift: one.shift, photo: shown, input: one.input } : { scale: input / shown, shift: 0, photo: shown, input };
  return { x: axis(placement?.x, width, W), y: axis(placement?.y, height, H) };
}

/** Return where to look in the input for each pixel of a picture, and which are seen; once for many maps. */
export function planOf(axes) {
  const one = ({ scale, shift, photo, input }) => {
    const low = new Int32Array(photo);
    const high = new Int32Array(photo);
    const part = new Float64Array(photo);
    const seen = new Uint8Array(photo);
    for (let i = 0; i < photo; i++) {
      const at = (i + 0.5) * scale + shift;
      const place = Math.min(Math.max(at - 0.5, 0), input - 1);
      low[i] = Math.floor(place);
      high[i] = Math.min(low[i] + 1, input - 1);
      part[i] = place - low[i];
      seen[i] = at >= -0.5 && at <= input + 0.5 ? 1 : 0;
    }
    const cell = new Int32Array(input);
    for (let i = 0; i < input; i++) {
      const at = Math.floor((i + 0.5 - shift) / scale);
      cell[i] = at >= 0 && at < photo ? at : -1;
    }
    return { low, high, part, seen, cell };
  };
  return { x: one(axes.x), y: one(axes.y), width: axes.x.photo, height: axes.y.photo };
}

/** Return a map over the input as one over the picture, as Placement.to_photo does; unseen pixels are in the plan. */
export function toPhoto(values, [, W], plan) {
  const found = interpolated(values, W, plan.x, plan.y);
  // A pixel has at least the largest value whose middle lies in it: the peak is the same at every size.
  plan.y.cell.forEach((y, i) => {
    if (y < 0) return;
    for (let j = 0; j < W; j++) {
      const x = plan.x.cell[j];
      if (x < 0) continue;
      const at = y * plan.width + x;
      const v = values[i * W + j];
      if (v > found[at]) found[at] = v;
    }
  });
  return found;
}

// ---------------------------------------------------------------- regions

/** Return whether a point of the picture is in a region: a box, or strokes (lines of some radius). */
function inRegion(region, x, y) {
  if (region.kind === "box") return x >= region.x0 && x < region.x1 && y >= region.y0 && y < region.y1;
  const near = region.radius ** 2;
  return region.strokes.some((points) =>
    points.some(([bx, by], i) => {
      const [ax, ay] = points[Math.max(0, i - 1)];
      const [dx, dy] = [bx - ax, by - ay];
      const along = dx || dy ? Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy))) : 0;
      return (x - ax - along * dx) ** 2 + (y - ay - along * dy) ** 2 <= near;
    }),
  );
}

/** Return the input's pixels (H * W, 0 or 1) whose middles are in a region of the picture. */
export function regionMask(region, axes) {
  const [W, H] = [axes.x.input, axes.y.input];
  const mask = new Uint8Array(H * W);
  // Which of the input's pixels may have their middles between two places: only these are looked at.
  const span = ({ scale, shift, photo, input }, from, to) => {
    const ends = [Math.max(from, 0), Math.min(to, photo)].map((u) => u * scale + shift - 0.5);
    return [Math.max(0, Math.floor(Math.min(...ends))), Math.min(input - 1, Math.ceil(Math.max(...ends)))];
  };
  for (const part of partsOf(region)) {
    const [x0, y0, x1, y1] = around(part);
    const reach = part.radius ?? 0;
    const [left, right] = span(axes.x, x0 - reach, x1 + reach);
    const [top, bottom] = span(axes.y, y0 - reach, y1 + reach);
    for (let i = top; i <= bottom; i++) {
      const y = (i + 0.5 - axes.y.shift) / axes.y.scale;
      if (y < 0 || y >= axes.y.photo) continue;
      for (let j = left; j <= right; j++) {
        const x = (j + 0.5 - axes.x.shift) / axes.x.scale;
        if (!mask[i * W + j] && x >= 0 && x < axes.x.photo && inRegion(part, x, y)) mask[i * W + j] = 1;
      }
    }
  }
  return mask;
}

/** Return the pieces of a region: a box is one, a stroke one for each of its lines. */
function partsOf(region) {
  if (region.kind === "box") return [region];
  return region.strokes.flatMap((points) =>
    points.map((point, i) => ({ ...region, strokes: [points.slice(Math.max(0, i - 1), i + 1)] })),
  );
}

/** Return which share of each cell's area a mask of the input's pixels takes. */
export function cover(mask, [H, W], [h, w]) {
  const found = new Float64Array(h * w);
  const parts = (i, from, to) => {
    // Pixel i is [i, i + 1); cell j is [j from / to, (j + 1) from / to).
    const shared = [];
    for (let j = Math.floor((i * to) / from); j < to && (j * from) / to < i + 1; j++) {
      const length = Math.min(i + 1, ((j + 1) * from) / to) - Math.max(i, (j * from) / to);
      if (length > 1e-12) shared.push([j, (length * to) / from]);
    }
    return shared;
  };
  const across = Array.from({ length: W }, (_, j) => parts(j, W, w));
  for (let i = 0; i < H; i++)
    for (const [y, down] of parts(i, H, h))
      for (let j = 0; j < W; j++)
        if (mask[i * W + j]) for (const [x, along] of across[j]) found[y * w + x] += down * along;
  return found;
}

/** Return each class's share of its logit in the covered cells, in the order of `shares.classes`. */
export function speaks(shares, covered) {
  const found = new Float64Array(shares.classes.length);
  for (let i = 0; i < found.length; i++) {
    const map = shares.table.map(i);
    for (let j = 0; j < map.length; j++) found[i] += covered[j] * map[j];
  }
  return found;
}

// ---------------------------------------------------------------- words (contrast/labels.py, texts.py)

/** Return text as one line that turns no other text round: what has no form of its own is shown as an escape. */
export function printable(text) {
  return String(text).replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (c) =>
    c === "\n" ? "\\n" : c === "\t" ? "\\t" : c === "\r" ? "\\r" : c.codePointAt(0) < 256 ? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}` : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

function fullName(name) {
  const whole = name.includes("(") ? name : name.split(",")[0];
  return whole.replace(/^\d+\./, "").replaceAll("_", " ").trim().replace(/\s+/g, " ");
}

/** Return a name fit for a picture: the common name where `Genus species (Common Name)` has one. */
export function shortName(name) {
  const inside = /^.*?\(([^()]+)\)\s*$/.exec(name);
  return printable(fullName(inside ? inside[1] : name)) || printable(name) || "(no name)";
}

/** Return text without case, accents and punctuation, for searching. */
export function folded(text) {
  return text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]|['’‘ʼ´`]/g, "")
    .replace(/[^\p{L}\p{N}\p{M}]+/gu, " ")
    .trim()
    .toLowerCase();
}

/** Return the parts of the question's sentence, as Contrast.sentence says it: [{text, name}, ...]. */
export function sentence(question, nameOf) {
  const said = 5;
  const names = (classes) => {
    const found = classes.slice(0, said).flatMap((c, i) => [...(i ? [{ text: ", " }] : []), { text: nameOf(c), name: true }]);
    if (classes.length > said) found.push({ text: `, and ${classes.length - said} more` });
    return found;
  };
  const [target, others] = [names([question.target]), names(question.references)];
  const [looked, against] = question.reverse ? [others, target] : [target, others];
  looked.forEach((part) => part.name && (part.asked = true));
  const reverse = question.reverse ? ", reversed" : "";
  if (question.gamma === 0) return [...looked, { text: `, alone${reverse}` }];
  const details = [`gamma ${question.gamma}`];
  if (question.weighting !== "mean") details.push(`${question.weighting} weighting`);
  if (question.aggregate !== "mean") details.push(`${question.aggregate} of the references`);
  return [...looked, { text: ", against " }, ...against, { text: `${reverse}, ${details.join(", ")}` }];
}

/** Keep a number beside its word. */
const together = (text) => text.replace("gamma ", "gamma\u00a0");

const number = (v, digits = 3) => {
  if (!Number.isFinite(v)) return "?";
  const text = Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(Number(v.toPrecision(digits)));
  return text.replace("-", "−");
};
const signed = (v) => (v > 0 ? "+" : "") + (Math.abs(v) >= 0.05 || v === 0 ? v.toFixed(1).replace("-", "−") : number(v, 1));
const percent = (p) => {
  if (!Number.isFinite(p)) return "?";
  const v = 100 * p;
  return `${v >= 1 || v === 0 ? v.toFixed(0) : number(v, 1)}\u00a0%`;
};

// ---------------------------------------------------------------- drawing (report/render.py)

/** Return for each of 256 strengths how much of the photo, of its muted grey (in 256ths), and which colour is drawn. */
function blending(colours) {
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
class Layer {
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
function threshold(values, axes, share) {
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
function contour(values, axes, level) {
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

// ---------------------------------------------------------------- elements

const SVG = "http://www.w3.org/2000/svg";

function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const make = (tag, attributes, ...children) => furnish(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => furnish(document.createElementNS(SVG, tag), attributes, children);
/** A name, kept from turning the text around it. */
const named = (text, attributes) => make("bdi", attributes, text);
let lastId = 0;
const newId = (what) => `fc-${what}-${++lastId}`;

/** One of a few choices: radio buttons that look like one control. `choices` are [value, label]. */
function segmented(label, choices, onpick) {
  const name = newId("choice");
  const inputs = new Map();
  const node = make(
    "fieldset",
    { class: "fc-segmented" },
    make("legend", {}, label),
    make(
      "div",
      {},
      choices.map(([value, text]) => {
        const input = make("input", { type: "radio", name, value, onchange: () => onpick(value) });
        inputs.set(value, input);
        return make("label", {}, input, make("span", {}, text));
      }),
    ),
  );
  return { node, set: (value) => inputs.get(value) && (inputs.get(value).checked = true) };
}

function picker(label, choices, onpick) {
  const select = make("select", { onchange: () => onpick(select.value) }, choices.map(([value, text]) => make("option", { value }, text)));
  const node = make("label", { class: "fc-field" }, make("span", {}, label), select);
  return { node, select, set: (value) => (select.value = value) };
}

const MOST_OPTIONS = 50;

/**
 * Classes chosen by name: chips and a combobox (ARIA's pattern, list popup).
 *
 * `options()` are [{index, name, whole, note, fold}]; `several` keeps a list, otherwise one takes the other's place.
 */
function chooser({ label, several, options, onpick, onremove, empty }) {
  const [box, list] = [newId("box"), newId("list")];
  let shown = [];
  let active = -1;
  let typed = false;
  const chips = make("span", { class: "fc-chips" });
  const popup = make("ul", { id: list, role: "listbox", class: "fc-options", "aria-label": label, hidden: true });
  const input = make("input", {
    id: box,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    dir: "auto",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list,
    placeholder: several ? "Add a class" : "Type a name",
    oninput: () => {
      typed = true;
      open();
    },
    onclick: () => open(),
    onfocus: () => input.select(),
    onblur: () => close(),
    onkeydown: (event) => {
      const opened = !popup.hidden;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (!opened) open();
        else if (shown.length) activate((active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length);
      } else if (event.key === "Enter" && opened && active >= 0) pick(shown[active]);
      else if (event.key === "Escape" && opened) close();
      else if (event.key === "Backspace" && several && !input.value && chips.lastElementChild) return onremove(Number(chips.lastElementChild.dataset.index));
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  });
  let current = "";
  function matching() {
    const words = typed ? folded(input.value).split(" ").filter(Boolean) : [];
    const query = words.join(" ");
    const rank = (one) => (one.fold[0].startsWith(query) ? 0 : one.fold[1].includes(` ${query}`) ? 1 : 2);
    return options()
      .filter((one) => words.every((word) => one.fold[1].includes(word)))
      .map((one) => [query ? rank(one) : 0, one])
      .sort((a, b) => a[0] - b[0])
      .map(([, one]) => one);
  }
  function open() {
    const found = matching();
    shown = found.slice(0, MOST_OPTIONS);
    popup.replaceChildren(
      ...shown.map((one, i) =>
        make(
          "li",
          { id: `${list}-${i}`, role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => pick(one) },
          make("span", {}, named(one.name), one.whole ? named(one.whole, { class: "fc-whole" }) : null),
          one.note ? make("span", { class: "fc-note" }, one.note) : null,
        ),
      ),
    );
    if (!shown.length) popup.append(make("li", { class: "fc-more", role: "presentation" }, "No class of that name"));
    if (found.length > shown.length) popup.append(make("li", { class: "fc-more", role: "presentation" }, `${found.length - shown.length} more: type to narrow`));
    popup.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(typed && shown.length ? 0 : -1);
  }
  function activate(i) {
    popup.children[active]?.setAttribute("aria-selected", "false");
    active = i;
    if (i < 0) return input.removeAttribute("aria-activedescendant");
    const option = popup.children[i];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }
  function close() {
    popup.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
    typed = false;
    input.value = current;
  }
  function pick(one) {
    current = several ? "" : one.name;
    close();
    onpick(one.index);
  }
  const node = make(
    "div",
    { class: "fc-field fc-chooser" },
    make("label", { for: box }, label),
    make("div", { class: "fc-combo" }, several ? chips : null, input, popup),
    empty ? make("button", { type: "button", class: "fc-quiet", onclick: () => onpick(null) }, empty) : null,
  );
  return {
    node,
    input,
    /** Show what is chosen: [{index, name, note}]. */
    set(chosen) {
      if (several)
        chips.replaceChildren(
          ...chosen.map(({ index, name, note }) =>
            make(
              "span",
              { class: "fc-chip", "data-index": index },
              named(name),
              note ? make("span", { class: "fc-note" }, note) : null,
              make(
                "button",
                {
                  type: "button",
                  "aria-label": `Remove ${name}`,
                  onclick: () => {
                    onremove(index);
                    input.focus();
                  },
                },
                "×",
              ),
            ),
          ),
        );
      else {
        current = chosen[0]?.name ?? "";
        if (document.activeElement !== input || !typed) input.value = current;
      }
    },
  };
}

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

// ---------------------------------------------------------------- one photo

const LARGEST = 1200;
const FRAME = 12;

/** Return kept evidence with its maps unpacked. */
async function unpacked(kept) {
  const answers = await Promise.all(
    kept.answers.map(async (answer) =>
      answer.kind === "strengths"
        ? { ...answer, decoded: await Promise.all(answer.tables.map((one) => decodeTable(one.maps))) }
        : { ...answer, table: await decodeTable(answer.maps) },
    ),
  );
  const { shares: given } = kept;
  const shared = given && answers[given.maps.answer];
  const shares = given && { ...given, classes: given.classes ?? kept.classes, table: shared ? shared.table : await decodeTable(given.maps) };
  const image = new Image();
  image.src = kept.picture;
  await image.decode();
  return { ...kept, answers, shares, image };
}

const PLAIN = { plain: true, references: [], gamma: 0, reverse: false, weighting: "mean", aggregate: "mean" };

/** Return what the question and its plain map look like at the input's resolution. */
export function answered(kept, answer, question) {
  const one = (asked) => {
    const found = signedMap(answer, asked, kept);
    if (found.cannot) return found;
    const heat = saliency(found.map, answer.cells, kept.image_size);
    let peak = 0;
    let at = 0;
    for (let i = 0; i < heat.length; i++) if (heat[i] > peak) [peak, at] = [heat[i], i];
    return { ...found, saliency: heat, peak, at };
  };
  return { finer: one(question), plain: one({ ...PLAIN, target: question.target }) };
}

class PhotoView {
  constructor(view, index, light, kept) {
    Object.assign(this, { view, index, light, kept });
    const { asked } = kept;
    const { weighting = "mean", aggregate = "mean", target, references, gamma, reverse } = asked;
    this.asked = { target, references: [...references], gamma, reverse, weighting, aggregate };
    this.question = { ...this.asked };
    this.method = asked.answer ?? 0;
    this.region = null;
    this.axes = axesOf(kept.placement, kept.image_size, kept.size);
    this.levels = blending(bytesOf(view.data.colours));
    this.layers = new Map();
    this.cost = 0;
    this.build();
  }

  get answer() {
    return this.kept.answers[this.method];
  }

  // ------------------------------------------------------------ words

  name(c) {
    return this.view.className(c);
  }

  strength(c) {
    const i = this.kept.classes.indexOf(c);
    if (i < 0) return "";
    return this.view.data.model.similarity && this.kept.similarities ? number(this.kept.similarities[i]) : percent(this.kept.probabilities[i]);
  }

  sentence() {
    const { objective } = this.kept.asked;
    if (objective) return [{ text: "for " }, { text: this.name(this.question.target), name: true, asked: true }, { text: `, ${printable(objective)}` }];
    return sentence(this.question, (c) => this.name(c));
  }

  said() {
    return this.sentence()
      .map((part) => part.text)
      .join("");
  }

  options() {
    this.optionsOf ??= this.kept.classes
      .map((c, i) => ({ ...this.view.classOption(c), note: this.strength(c), order: this.kept.logits[i] ?? -Infinity }))
      .sort((a, b) => b.order - a.order);
    return this.optionsOf;
  }

  // ------------------------------------------------------------ the page

  build() {
    const { view, kept } = this;
    const display = view.display;
    const [w, h] = kept.size;
    const ask = (changes) => this.ask(changes);
    this.heading = make("h2", { class: "fc-ask" });
    this.details = make("p", { class: "fc-details" });

    this.canvas = make("canvas", { role: "img" });
    this.overlay = draw("svg", { class: "fc-overlay", viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    this.wipe = make(
      "div",
      { class: "fc-wipe", role: "slider", tabindex: "0", "aria-label": "Wipe between plain and finer", "aria-valuemin": "0", "aria-valuemax": "100", onkeydown: (event) => this.wipeKey(event), onpointerdown: (event) => this.wipeDrag(event) },
      make("span", { "aria-hidden": "true" }),
    );
    this.tags = [make("span", { class: "fc-tag fc-left" }), make("span", { class: "fc-tag fc-right" })];
    this.notice = make("p", { class: "fc-notice" });
    const help = newId("help");
    this.surface = make(
      "div",
      { class: "fc-surface", tabindex: "0", role: "application", "aria-roledescription": "photo", "aria-label": "Choose a region of the photo", "aria-describedby": help, onkeydown: (event) => this.stageKey(event), onpointerdown: (event) => this.stagePointer(event) },
      this.canvas,
      this.overlay,
    );
    this.stage = make("div", { class: "fc-stage" }, this.surface, this.tags, this.wipe, this.notice);
    this.stage.style.maxWidth = `min(100%, calc(76vh * ${w / h}))`;

    this.ramp = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
    const colours = bytesOf(view.data.colours);
    const strip = this.ramp.getContext("2d");
    const line = strip.createImageData(256, 1);
    for (let i = 0; i < 256; i++) line.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
    strip.putImageData(line, 0, 0);
    this.barMarks = make("span", { class: "fc-marks" });
    this.barTop = make("span", {});
    this.bar = make("div", { class: "fc-bar" }, make("span", {}, "0"), make("span", { class: "fc-ramp" }, this.ramp, this.barMarks), this.barTop);
    this.barText = make("p", { class: "fc-bartext" });

    const fixed = this.kept.asked.objective || kept.answers.every((one) => one.kind === "fixed");
    this.range = make("input", { type: "range", min: "-1", max: "3", step: "0.05", "aria-label": "gamma, the strength of the comparison", oninput: () => ask({ gamma: Number(this.range.value) }) });
    this.numberField = make("input", {
      type: "number",
      step: "0.05",
      "aria-label": "gamma",
      onchange: () => {
        const given = this.numberField.valueAsNumber;
        ask({ gamma: Number.isFinite(given) ? Math.min(this.limits[1], Math.max(this.limits[0], given)) : this.question.gamma });
      },
    });
    this.marks = make("div", { class: "fc-ticks" });
    this.strengthNote = make("p", { class: "fc-hint" });
    const gamma = make(
      "div",
      { class: "fc-gamma" },
      make("div", { class: "fc-gammahead" }, make("span", {}, "Strength ", make("i", {}, "gamma")), this.numberField),
      this.range,
      this.marks,
      this.strengthNote,
    );

    this.target = chooser({ label: "Why", options: () => this.options(), onpick: (c) => ask({ target: c, references: this.question.references.filter((r) => r !== c) }) });
    this.references = chooser({
      label: "and not",
      several: true,
      options: () => this.options().filter(({ index }) => index !== this.question.target && !this.question.references.includes(index)),
      onpick: (c) => ask({ references: [...this.question.references, c] }),
      onremove: (c) => ask({ references: this.question.references.filter((r) => r !== c) }),
    });
    this.reverse = make("input", { type: "checkbox", onchange: () => ask({ reverse: this.reverse.checked }) });
    const reverse = make("label", { class: "fc-check" }, this.reverse, make("span", {}, "Reverse: look for the others’ traits"));
    this.weighting = picker("Weighting", [["mean", "mean (the paper)"], ["softmax", "softmax"], ["official", "official (the authors’ code)"]], (weighting) => ask({ weighting }));
    this.aggregate = picker("References", [["mean", "mean"], ["max", "maximum"], ["mean-after-relu", "mean after the ReLU"]], (aggregate) => ask({ aggregate }));
    this.more = make("details", { class: "fc-more-options" }, make("summary", {}, "How references are put together"), this.weighting.node, this.aggregate.node);
    this.methodPicker = picker("Method", kept.answers.map((one, i) => [String(i), printable(one.title)]), (i) => {
      this.method = Number(i);
      view.carried.method = this.answer.method;
      this.changed();
    });

    this.show = segmented("Show", [["finer", "Finer"], ["compare", "Compare"], ["plain", "Plain"]], (show) => this.look({ show }));
    this.scale = segmented("Colours", [["common", "Common scale"], ["own", "Own scale"]], (scale) => this.look({ scale }));
    this.contour = segmented("Outline the top", [["0", "None"], ["5", "5 %"], ["10", "10 %"], ["20", "20 %"]], (top) => this.look({ contour: Number(top) }));
    this.tool = segmented("Region", [["point", "Point"], ["box", "Box"], ["brush", "Brush"]], (tool) => this.look({ tool }));
    this.clear = make("button", { type: "button", class: "fc-quiet", onclick: () => this.setRegion(null) }, "Clear");

    this.regionPart = make("section", { class: "fc-region-answer", "aria-label": "What the region speaks for" });
    this.classes = make("section", { class: "fc-classes" });
    this.curves = this.drawCurves();
    this.linkNote = make("div", { class: "fc-link" });
    const actions = make(
      "div",
      { class: "fc-actions" },
      view.linkable ? make("button", { type: "button", onclick: () => this.copyLink() }, "Copy link") : null,
      make("button", { type: "button", onclick: () => this.save("png") }, "Save PNG"),
      make("button", { type: "button", onclick: () => this.save("svg") }, "Save SVG"),
      make("button", { type: "button", class: "fc-quiet", onclick: () => this.reset() }, "Reset"),
    );
    const many = view.data.photos.length > 1;
    const step = (by) => make("button", { type: "button", "aria-label": by < 0 ? "Previous photo" : "Next photo", onclick: () => view.step(by) }, by < 0 ? "‹" : "›");
    this.node = make(
      "article",
      { class: "fc-photo" },
      many
        ? make(
            "nav",
            { class: "fc-nav", "aria-label": "Photos" },
            make("button", { type: "button", class: "fc-quiet", onclick: () => view.open(null) }, "← All photos"),
            make("span", { class: "fc-where" }, view.place(this.index)),
            step(-1),
            step(1),
          )
        : null,
      make("header", { class: "fc-question" }, this.heading, this.details),
      make(
        "figure",
        { class: "fc-figure" },
        this.stage,
        make("figcaption", {}, this.bar, this.barText),
        fixed ? null : gamma,
        kept.shares
          ? make("div", { class: "fc-tools" }, this.tool.node, this.clear)
          : null,
        make(
          "p",
          { class: "fc-hint fc-help", id: help },
          kept.shares ? "Click or drag on the photo, or brush, to ask what that region speaks for. " : "Regions cannot be asked about here: no shares of the logits were kept. ",
          make(
            "span",
            { class: "fc-for-keys" },
            kept.shares ? "With the keyboard: Enter marks one, arrows move it, Shift and arrows size it, Escape clears it. " : "",
            many ? "Page Up and Page Down change the photo." : "",
          ),
        ),
        this.regionPart,
      ),
      make(
        "aside",
        { class: "fc-panel", "aria-label": "The question" },
        fixed ? null : [this.target.node, this.references.node, reverse],
        kept.answers.length > 1 ? this.methodPicker.node : null,
        this.show.node,
        this.scale.node,
        this.contour.node,
        fixed ? null : this.more,
        actions,
        this.linkNote,
        this.classes,
        this.curves,
      ),
    );
    this.tool.set(display.tool);
    this.observer = new ResizeObserver(() => this.schedule());
    this.observer.observe(this.stage);
  }

  close() {
    this.observer.disconnect();
    clearTimeout(this.settling);
    this.closed = true;
  }

  // ------------------------------------------------------------ what can change

  /** Ask something else; options that do not go together give way to the one just chosen. */
  ask(changes) {
    const q = { ...this.question, ...changes };
    if (changes.aggregate === "max") q.weighting = "mean";
    if (changes.weighting === "official") [q.aggregate, q.reverse] = ["mean", false];
    if (changes.weighting === "softmax" && q.aggregate === "max") q.aggregate = "mean";
    if ((changes.reverse || (changes.aggregate && changes.aggregate !== "mean")) && q.weighting === "official") q.weighting = "mean";
    if ("gamma" in changes) this.view.carried.gamma = q.gamma;
    this.question = q;
    this.changed();
  }

  look(changes) {
    Object.assign(this.view.display, changes);
    this.changed();
  }

  reset() {
    this.question = { ...this.asked, references: [...this.asked.references] };
    this.method = this.kept.asked.answer ?? 0;
    this.view.carried = {};
    this.setRegion(null);
  }

  setRegion(region) {
    this.region = region;
    this.spoken = null;
    this.changed();
  }

  changed() {
    this.schedule();
    this.view.save();
  }

  schedule() {
    if (this.pending || this.closed) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      // As coarse as it takes to keep up with a hand; what it settles on is drawn in full.
      this.refresh(this.cost > 9 * FRAME ? 4 : this.cost > 4 * FRAME ? 3 : this.cost > FRAME ? 2 : 1);
      if (this.coarse === 1) return;
      clearTimeout(this.settling);
      this.settling = setTimeout(() => !this.closed && this.refresh(1), 120);
    });
  }

  // ------------------------------------------------------------ what is seen

  compute() {
    // What was not kept by class was asked in one way of putting references together.
    const { weighting, aggregate } = this.asked;
    if (this.answer.kind !== "classes") Object.assign(this.question, { weighting, aggregate });
    const key = JSON.stringify([this.method, this.question]);
    if (this.found?.key !== key) this.found = { key, ...answered(this.kept, this.answer, this.question) };
    return this.found;
  }

  layer(width) {
    const [w, h] = this.kept.size;
    const size = [Math.max(1, Math.round(width)), Math.max(1, Math.round((width * h) / w))];
    const known = this.layers.get(size[0]);
    if (known) return known;
    if (this.layers.size > 3) this.layers.clear();
    const layer = new Layer(this.kept.image, axesOf(this.kept.placement, this.kept.image_size, size), this.levels);
    this.layers.set(size[0], layer);
    return layer;
  }

  /** Return the picture as it is shown, at a width. */
  picture(width) {
    const layer = this.layer(width);
    const { finer, plain } = this.compute();
    const { show, scale, wipe } = this.view.display;
    const common = Math.max(finer.peak ?? 0, plain.peak ?? 0);
    const heat = (one) => one.saliency && { heat: toPhoto(one.saliency, this.kept.image_size, layer.plan), top: scale === "common" ? common : one.peak };
    const column = show === "plain" ? Infinity : show === "finer" ? 0 : Math.round(wipe * layer.plan.width);
    return layer.paint(show === "finer" ? null : heat(plain), show === "plain" ? null : heat(finer), column);
  }

  refresh(coarse) {
    const started = performance.now();
    const wanted = Math.min(LARGEST, Math.max(64, Math.round(this.stage.clientWidth * (window.devicePixelRatio || 1))));
    const painted = this.picture(wanted / coarse);
    if (this.canvas.width !== wanted) {
      this.canvas.width = wanted;
      this.canvas.height = Math.max(1, Math.round((wanted * this.kept.size[1]) / this.kept.size[0]));
    }
    this.canvas.getContext("2d").drawImage(painted, 0, 0, this.canvas.width, this.canvas.height);
    this.sync();
    this.took = performance.now() - started;
    if (coarse === 1) this.cost = this.warm ? this.took : 0;
    this.warm = true;
    this.coarse = coarse;
  }

  sync() {
    const { view, kept, question, answer } = this;
    const { show, scale, wipe, contour: top, tool } = view.display;
    const { finer, plain } = this.compute();
    this.heading.replaceChildren(
      ...this.sentence().map((part) => (part.name ? named(part.text, { class: part.asked ? "fc-asked" : "fc-other" }) : together(part.text))),
    );
    this.details.replaceChildren(...this.told());

    const at = scale === "common" ? Math.max(finer.peak ?? 0, plain.peak ?? 0) : ((show === "plain" ? plain : finer).peak ?? 0);
    this.bar.hidden = !(at > 0) || Boolean((show === "plain" ? plain : finer).cannot);
    this.barTop.textContent = number(at);
    const peaks = [["finer", finer], ["plain", plain]].filter(([which, one]) => one.peak > 0 && (show === "compare" || show === which));
    this.barMarks.replaceChildren(
      ...(scale === "common" ? peaks : []).map(([, one]) => {
        const mark = make("i", {});
        mark.style.left = `${(100 * one.peak) / at}%`;
        return mark;
      }),
    );
    this.barText.textContent = peaks.map(([which, one]) => `${which === "plain" ? "plain" : "finer"} peak ${number(one.peak)}${scale === "own" && peaks.length > 1 ? " at full colour" : ""}`).join(", ");
    if (!kept.placement ? false : this.layers.size && this.someUnseen()) this.barText.textContent += `${this.barText.textContent ? "; " : ""}hatched: not seen by the model`;

    const shown = show === "plain" ? plain : finer;
    const problem = shown.cannot
      ? `This cannot be answered here: ${shown.cannot}. What would: ${shown.do}.`
      : shown.peak <= 0
        ? `Empty: nothing speaks for ${show !== "plain" && question.reverse ? "this" : this.name(question.target)}${show === "plain" || kept.asked.objective ? "" : " in this comparison"}.`
        : "";
    this.notice.textContent = problem;
    this.notice.hidden = !problem;

    const compare = show === "compare";
    this.wipe.hidden = !compare;
    this.tags.forEach((tag) => (tag.hidden = !compare));
    if (compare) {
      this.wipe.style.left = `${100 * wipe}%`;
      this.wipe.setAttribute("aria-valuenow", Math.round(100 * wipe));
      this.wipe.setAttribute("aria-valuetext", `${Math.round(100 * wipe)} % plain`);
      this.tags[0].textContent = `${printable(answer.title)}${plain.peak <= 0 ? ": empty" : ""}`;
      this.tags[1].textContent = `Finer ${printable(answer.title)}${finer.peak <= 0 ? ": empty" : ""}`;
    }
    this.canvas.setAttribute("aria-label", this.describe(shown, problem));
    this.drawOverlay(shown, top);
    this.surface.classList.toggle("fc-drawing", tool !== "point");

    this.limits = this.limitsOf();
    const [low, high] = this.limits;
    Object.assign(this.range, { min: String(low), max: String(high) });
    Object.assign(this.numberField, { min: String(low), max: String(high) });
    this.range.value = String(question.gamma);
    this.range.setAttribute("aria-valuetext", `gamma ${question.gamma}`);
    if (document.activeElement !== this.numberField || this.numberField.valueAsNumber !== question.gamma) this.numberField.value = String(question.gamma);
    this.setMarks(low, high);
    this.strengthNote.textContent =
      answer.kind !== "strengths" || finer.cannot
        ? ""
        : finer.error
          ? `Interpolated between strengths that were computed: off by at most ${percent(finer.error)} of the peak.`
          : "Computed at this strength.";
    this.target.set([{ index: question.target, name: this.name(question.target) }]);
    const chosen = JSON.stringify(question.references);
    if (this.chosen !== chosen) {
      this.chosen = chosen;
      this.references.set(question.references.map((c) => ({ index: c, name: this.name(c), note: this.strength(c) })));
    }
    this.reverse.checked = question.reverse;
    this.weighting.set(question.weighting);
    this.aggregate.set(question.aggregate);
    this.more.hidden = answer.kind !== "classes";
    this.methodPicker.set(String(this.method));
    this.show.set(show);
    this.scale.set(scale);
    this.contour.set(String(top));
    this.tool.set(tool);
    this.clear.disabled = !this.region;
    this.syncClasses();
    this.syncRegion();
    view.announce([problem || this.describe(shown, ""), this.region ? (this.regionSaid ?? "") : ""].join(" "));
  }

  someUnseen() {
    const { x, y } = [...this.layers.values()][0].plan;
    return x.seen.includes(0) || y.seen.includes(0);
  }

  limitsOf() {
    const { answer, question } = this;
    if (answer.kind === "strengths") {
      const table = answer.tables.find((one) => one.target === question.target && sameClasses(one.references, question.references) && one.reverse === question.reverse) ?? answer.tables[0];
      return [table.strengths[0], table.strengths.at(-1)];
    }
    return [Math.min(-1, this.asked.gamma), Math.max(3, this.asked.gamma)];
  }

  setMarks(low, high) {
    const key = `${low} ${high}`;
    if (this.marked === key) return;
    this.marked = key;
    const said = [[0, "plain"], [0.6, "default"], [1, "even"]];
    this.marks.replaceChildren(
      ...said
        .filter(([value]) => value >= low && value <= high)
        .map(([value, what]) => {
          const mark = make("button", { type: "button", title: what, "aria-label": `gamma ${value}, ${what}`, onclick: () => this.ask({ gamma: value }) }, String(value));
          mark.style.setProperty("--at", String((value - low) / (high - low)));
          return mark;
        }),
    );
  }

  /** What is beneath the question: what the model says, and how it was answered. */
  told() {
    const { light, answer, view, kept } = this;
    const predicted = light.predicted;
    const parts = [];
    if (!view.data.model.similarity && predicted !== undefined && predicted !== null)
      parts.push("The model says ", named(this.name(predicted)), ` (${percent(light.probability)})`, predicted === this.question.target ? ". " : ", not what is asked about. ");
    parts.push(`${printable(answer.title)} of `, named(printable(view.data.model.name)), ", photo ", named(printable(light.name)), ".");
    if (!kept.answers.length) parts.push(" No maps were kept.");
    return parts;
  }

  describe(shown, problem) {
    if (problem) return `${this.said()}. ${problem}`;
    if (!shown.saliency) return this.said();
    const [, W] = this.kept.image_size;
    const { x, y } = this.axes;
    const [u, v] = [((shown.at % W) + 0.5 - x.shift) / x.scale / x.photo, (Math.floor(shown.at / W) + 0.5 - y.shift) / y.scale / y.photo];
    const third = (p, words) => words[Math.min(2, Math.max(0, Math.floor(3 * p)))];
    const place = [third(v, ["upper", "", "lower"]), third(u, ["left", "", "right"])].filter(Boolean).join(" ") || "middle";
    return `${this.said()}. Strongest in the ${place} of the photo, peak ${number(shown.peak)}.`;
  }

  syncClasses() {
    const { question, kept, light } = this;
    const key = JSON.stringify([question.target, question.references]);
    if (this.listed === key) return;
    this.listed = key;
    const values = this.view.data.model.similarity && kept.similarities ? kept.similarities : kept.probabilities;
    const classes = [...new Set([question.target, ...question.references.slice(0, 8), light.predicted])].filter((c) => kept.classes.includes(c));
    const value = (c) => values[kept.classes.indexOf(c)];
    const most = Math.max(...classes.map(value), this.view.data.model.similarity ? 1e-9 : 1);
    this.classes.replaceChildren(
      make("h3", {}, this.view.data.model.similarity ? "Similarity" : "What the model says"),
      make(
        "ul",
        { class: "fc-list" },
        classes.map((c) => {
          const bar = make("span", { class: "fc-fill" });
          bar.style.width = `${Math.max(0, (100 * value(c)) / most)}%`;
          return make(
            "li",
            { class: c === question.target ? "fc-target" : "" },
            make("span", { class: "fc-line" }, named(this.name(c)), make("span", { class: "fc-value" }, this.strength(c))),
            make("span", { class: "fc-track", "aria-hidden": "true" }, bar),
          );
        }),
      ),
    );
  }

  // ------------------------------------------------------------ regions

  drawOverlay(shown, top) {
    const [w, h] = this.kept.size;
    const parts = [];
    if (top && shown.saliency && shown.peak > 0) {
      if (this.outline?.of !== shown || this.outline.top !== top) {
        const level = Math.max(threshold(shown.saliency, this.axes, top / 100), 0);
        this.outline = { of: shown, top, path: contour(shown.saliency, this.axes, level) };
      }
      parts.push(draw("path", { class: "fc-halo", d: this.outline.path }), draw("path", { class: "fc-contour", d: this.outline.path }));
    }
    if (this.region) {
      const id = (this.maskId ??= newId("mask"));
      parts.push(
        draw("mask", { id, maskUnits: "userSpaceOnUse", x: 0, y: 0, width: w, height: h }, draw("rect", { width: w, height: h, fill: "#fff" }), regionShape(this.region, { fill: "#000", stroke: "#000" })),
        draw("rect", { width: w, height: h, fill: "#000", "fill-opacity": "0.3", mask: `url(#${id})` }),
        // A line around it, of which what is inside is masked.
        draw("g", { mask: `url(#${id})` }, regionShape(this.region, { fill: "none", stroke: "#fff" }, (4 * w) / Math.max(1, this.stage.clientWidth))),
      );
    }
    this.overlay.replaceChildren(...parts);
  }

  /** Return what the region says of each kept class; null without a region or shares. */
  speaks() {
    const { region, kept } = this;
    if (!region || !kept.shares) return null;
    if (!this.spoken) {
      const mask = regionMask(region, this.axes);
      const pixels = mask.reduce((a, b) => a + b, 0);
      this.spoken = { pixels, share: pixels / mask.length, region: speaks(kept.shares, cover(mask, kept.image_size, kept.shares.cells)) };
    }
    return this.spoken;
  }

  syncRegion() {
    const spoken = this.speaks();
    const key = spoken && JSON.stringify([this.question.target, this.question.references, this.all]);
    if (this.regionShown === spoken && this.regionKey === key) return;
    [this.regionShown, this.regionKey] = [spoken, key];
    this.regionSaid = "";
    if (!spoken) return this.regionPart.replaceChildren();
    const { kept, question } = this;
    if (!spoken.pixels) {
      this.regionSaid = "The model did not see this region.";
      return this.regionPart.replaceChildren(make("p", { class: "fc-region-said" }, this.regionSaid));
    }
    const { classes, rest } = kept.shares;
    const logit = (c) => kept.logits[kept.classes.indexOf(c)];
    const t = classes.indexOf(question.target);
    const over = (c) => {
      const i = classes.indexOf(c);
      return { c, own: spoken.region[i], region: spoken.region[t] - spoken.region[i], rest: rest[t] - rest[i], whole: logit(question.target) - logit(c) };
    };
    const others = t < 0 ? [] : classes.filter((c) => c !== question.target).map(over).sort((a, b) => b.region - a.region);
    const references = question.references.map((c) => others.find((one) => one.c === c)).filter(Boolean);
    const further = others.filter((one) => !references.includes(one));
    const few = 4;
    const shortList = [...further.slice(0, few), ...further.slice(few).slice(-few)];
    const most = Math.max(1e-12, ...[...references, ...shortList].map((one) => Math.abs(one.region)));
    const target = this.name(question.target);
    const first = references[0] ?? shortList[0];
    this.regionSaid = first ? `This region: ${signed(first.region)} for ${target} over ${this.name(first.c)}.` : "";
    const row = (one, whole) => {
      const bar = make("span", { class: one.region >= 0 ? "fc-for" : "fc-against" });
      bar.style.width = `${(50 * Math.abs(one.region)) / most}%`;
      const part = Math.abs(one.whole) > 1e-9 ? `${number((100 * one.region) / one.whole, 2)}\u00a0% of ` : "of ";
      return make(
        "li",
        {},
        make("span", { class: "fc-line" }, make("span", {}, "over ", named(this.name(one.c))), make("span", { class: "fc-value" }, signed(one.region))),
        make("span", { class: "fc-track fc-signed", "aria-hidden": "true" }, bar),
        whole ? make("span", { class: "fc-hint" }, `${part}the whole difference of ${signed(one.whole)}; ${kept.shares.exact ? "bias" : "the rest"} ${signed(one.rest)}`) : null,
      );
    };
    const why = printable(kept.shares.sentence ?? "").replace(/^(exact|an attribution): /, "").replace(/\.$/, "");
    this.regionPart.replaceChildren(
      first
        ? make("p", { class: "fc-region-said" }, "This region: ", make("strong", {}, signed(first.region)), " for ", named(target), " over ", named(this.name(first.c)))
        : make("p", {}, t < 0 ? "No shares were kept of this class; run finercam again with it." : "There is no class to compare with."),
      make("p", { class: "fc-hint" }, make("b", {}, kept.shares.exact ? "Exact" : "An attribution"), why ? `: ${why}.` : ".", ` The region is ${percent(spoken.share)} of what the model saw.`),
      make("ul", { class: "fc-list" }, references.map((one) => row(one, true))),
      make(
        "div",
        { class: "fc-two" },
        [[further.slice(0, few), "Other classes, most"], [further.slice(few).slice(-few), "and least"]].map(([part, words]) =>
          part.length ? make("div", {}, make("h3", {}, words), make("ul", { class: "fc-list" }, part.map((one) => row(one, false)))) : null,
        ),
      ),
      make(
        "button",
        {
          type: "button",
          class: "fc-quiet",
          "aria-expanded": this.all ? "true" : "false",
          onclick: () => {
            this.all = !this.all;
            this.syncRegion();
            this.regionPart.querySelector("button").focus();
          },
        },
        this.all ? "Show fewer" : `Show all ${others.length} other classes`,
      ),
      this.all ? this.regionTable(spoken.region[t], others) : "",
    );
  }

  regionTable(own, ordered) {
    const head = ["Class", "its logit: this region", "difference: this region", "whole", this.kept.shares.exact ? "bias" : "rest"];
    const target = named(this.name(this.question.target));
    return make(
      "div",
      { class: "fc-scroll", tabindex: "0", role: "region", "aria-label": "All classes" },
      make(
        "table",
        {},
        make("caption", {}, target, ` over each class, in logits. Of its own logit this region has ${signed(own)}.`),
        make("thead", {}, make("tr", {}, head.map((text) => make("th", { scope: "col" }, text)))),
        make(
          "tbody",
          {},
          ordered.map((one) =>
            make("tr", {}, make("th", { scope: "row" }, named(this.name(one.c))), [one.own, one.region, one.whole, one.rest].map((v) => make("td", {}, signed(v)))),
          ),
        ),
      ),
    );
  }

  /** Return a point of the picture for a pointer. */
  point(event) {
    const place = this.surface.getBoundingClientRect();
    const [w, h] = this.kept.size;
    const within = (p, most) => Math.min(most, Math.max(0, p * most));
    return [within((event.clientX - place.left) / place.width, w), within((event.clientY - place.top) / place.height, h)];
  }

  get radius() {
    const { x, y } = this.axes;
    // Never so small that it falls between the middles of the input's pixels.
    return Math.max(0.045 * Math.min(...this.kept.size), 0.75 / Math.min(Math.abs(x.scale), Math.abs(y.scale)));
  }

  stagePointer(event) {
    if (event.button !== 0 || !this.kept.shares) return;
    const { tool } = this.view.display;
    const from = this.point(event);
    const before = this.region;
    const moving = tool !== "brush" && before && inRegion(before, ...from);
    const start = [event.clientX, event.clientY];
    let dragged = false;
    if (tool === "brush") this.setRegion({ kind: "strokes", radius: this.radius, strokes: [...(before?.kind === "strokes" && this.brushed ? before.strokes : []), [from]] });
    this.brushed = tool === "brush";
    this.surface.setPointerCapture(event.pointerId);
    const move = (next) => {
      const to = this.point(next);
      dragged ||= Math.hypot(next.clientX - start[0], next.clientY - start[1]) > 4;
      if (tool === "brush") {
        const strokes = this.region.strokes.slice();
        const last = strokes.at(-1).at(-1);
        if (Math.hypot(to[0] - last[0], to[1] - last[1]) < this.region.radius / 4) return;
        strokes.push([...strokes.pop(), to]);
        this.setRegion({ ...this.region, strokes });
      } else if (dragged && moving) this.setRegion(moved(before, to[0] - from[0], to[1] - from[1], this.kept.size));
      else if (dragged && (tool === "box" || next.pointerType === "mouse"))
        this.setRegion({ kind: "box", x0: Math.min(from[0], to[0]), y0: Math.min(from[1], to[1]), x1: Math.max(from[0], to[0]), y1: Math.max(from[1], to[1]) });
    };
    const done = (end) => {
      for (const [kind, act] of acts) this.surface.removeEventListener(kind, act);
      if (end.type === "pointerup" && !dragged && tool !== "brush") this.setRegion({ kind: "strokes", radius: this.radius, strokes: [[from]] });
    };
    const acts = [["pointermove", move], ["pointerup", done], ["pointercancel", done]];
    for (const [kind, act] of acts) this.surface.addEventListener(kind, act);
  }

  stageKey(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    const [w, h] = this.kept.size;
    if (event.key === "PageUp" || event.key === "PageDown") this.view.step(event.key === "PageUp" ? -1 : 1);
    else if (event.altKey || event.ctrlKey || event.metaKey || !this.kept.shares) return;
    else if (event.key === "Escape") this.setRegion(null);
    else if (event.key === "Enter" || event.key === " " || (event.key in arrows && !this.region)) {
      const r = 0.12 * Math.min(w, h);
      this.setRegion({ kind: "box", x0: w / 2 - r, y0: h / 2 - r, x1: w / 2 + r, y1: h / 2 + r });
    } else if (event.key in arrows) {
      const step = 0.02 * Math.min(w, h);
      const [dx, dy] = arrows[event.key].map((d) => d * step);
      this.setRegion(event.shiftKey ? sized(this.region, dx, dy, this.kept.size, this.radius / 3) : moved(this.region, dx, dy, this.kept.size));
    } else return;
    event.preventDefault();
  }

  // ------------------------------------------------------------ plain against finer

  wipeKey(event) {
    const by = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (!by) return;
    event.preventDefault();
    this.look({ wipe: Math.min(1, Math.max(0, this.view.display.wipe + by)) });
  }

  wipeDrag(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.wipe.focus();
    this.wipe.setPointerCapture(event.pointerId);
    const move = (next) => this.look({ wipe: this.point(next)[0] / this.kept.size[0] });
    const done = () => {
      this.wipe.removeEventListener("pointermove", move);
      this.wipe.removeEventListener("pointerup", done);
    };
    this.wipe.addEventListener("pointermove", move);
    this.wipe.addEventListener("pointerup", done);
  }

  // ------------------------------------------------------------ curves, and what leaves the page

  drawCurves() {
    const { curves } = this.kept;
    if (!curves) return null;
    const [w, h] = [300, 150];
    const path = (values) => values.map((v, i) => `${i ? "L" : "M"}${(w * curves.fraction[i]).toFixed(1)} ${(h * (1 - v)).toFixed(1)}`).join("");
    const second = curves.second_class ?? null;
    // The last is what was asked for: it has the accent.
    const colour = (i) => (curves.lines.length - 1 - i) % 4;
    return make(
      "section",
      { class: "fc-curves" },
      make("h3", {}, "As the most salient pixels are deleted"),
      draw(
        "svg",
        { viewBox: `-30 -8 ${w + 40} ${h + 34}`, role: "img", "aria-label": "Deletion curves: probability against the fraction of pixels deleted" },
        [0, 0.5, 1].map((v) => [
          draw("line", { class: "fc-grid", x1: 0, x2: w, y1: h * (1 - v), y2: h * (1 - v) }),
          draw("text", { x: -6, y: h * (1 - v) + 4, "text-anchor": "end" }, String(v)),
          draw("text", { x: w * v, y: h + 16, "text-anchor": v === 0 ? "start" : v === 1 ? "end" : "middle" }, percent(v)),
        ]),
        curves.lines.map((line, i) => [
          draw("path", { class: `fc-curve fc-curve-${colour(i)}`, d: path(line.target) }),
          line.second ? draw("path", { class: `fc-curve fc-curve-${colour(i)} fc-dashed`, d: path(line.second) }) : null,
        ]),
      ),
      make("ul", { class: "fc-keys" }, curves.lines.map((line, i) => make("li", { class: `fc-key-${colour(i)}` }, named(printable(line.answer))))),
      make("p", { class: "fc-hint" }, "Solid: ", named(this.name(this.asked.target)), second === null ? "." : [". Dashed: ", named(this.name(second)), "."]),
    );
  }

  async copyLink() {
    this.view.writeHash();
    const text = location.href;
    try {
      await navigator.clipboard.writeText(text);
      this.linkNote.replaceChildren(make("p", { class: "fc-hint" }, "The link is in the clipboard. It opens this question again."));
      this.view.announce("Link copied.");
    } catch {
      const field = make("input", { type: "text", readonly: true, value: text, "aria-label": "Link to this question" });
      this.linkNote.replaceChildren(make("p", { class: "fc-hint" }, "Copy this link:"), field);
      field.focus();
      field.select();
    }
  }

  /** Return what is shown as an SVG picture with its question, colour bar and peak. */
  svg() {
    const { kept, view, answer } = this;
    const [w, h] = kept.size;
    const width = Math.min(LARGEST, Math.max(640, w));
    const height = Math.round((width * h) / w);
    const unit = width / 640;
    const pad = 16 * unit;
    const family = "system-ui, 'Segoe UI', 'Noto Sans', Helvetica, Arial, sans-serif";
    const measure = document.createElement("canvas").getContext("2d");
    const lines = (text, size, weight = "400") => {
      measure.font = `${weight} ${size}px ${family}`;
      const found = [""];
      for (const word of text.split(" "))
        if (found.at(-1) && measure.measureText(`${found.at(-1)} ${word}`).width > width) found.push(word);
        else found[found.length - 1] += (found.at(-1) ? " " : "") + word;
      return found;
    };
    let y = pad;
    const parts = [];
    const write = (text, size, fill, weight) => {
      for (const line of lines(text, size, weight)) {
        y += 1.3 * size;
        parts.push(draw("text", { x: pad, y, "font-size": size, "font-family": family, fill, "font-weight": weight }, line));
      }
    };
    const isolated = this.sentence().map((part) => (part.name ? `\u2068${part.text}\u2069` : together(part.text)));
    write(isolated.join(""), 21 * unit, "#1b1b1a", "600");
    const { show, scale } = view.display;
    const { finer, plain } = this.compute();
    const which = { finer: `Finer ${answer.title}`, plain: answer.title, compare: `left ${answer.title}, right Finer ${answer.title}` }[show];
    write(printable(`${which} · ${view.data.model.name} · ${this.light.name}`), 13 * unit, "#5d5c58");
    y += pad / 1.5;
    const picture = this.picture(width).toDataURL("image/png");
    parts.push(draw("image", { href: picture, x: pad, y, width, height }));
    const overlay = this.overlay.cloneNode(true);
    for (const part of overlay.querySelectorAll(".fc-halo")) furnish(part, { fill: "none", stroke: "#000", "stroke-opacity": "0.6", "stroke-width": (4 * w) / width }, []);
    for (const part of overlay.querySelectorAll(".fc-contour")) furnish(part, { fill: "none", stroke: "#fff", "stroke-width": (2 * w) / width }, []);
    furnish(overlay, { x: pad, y, width, height }, []);
    overlay.removeAttribute("class");
    parts.push(overlay);
    if (show === "compare") parts.push(draw("line", { x1: pad + width * view.display.wipe, x2: pad + width * view.display.wipe, y1: y, y2: y + height, stroke: "#fff", "stroke-width": 2 * unit }));
    y += height + pad;
    const top = scale === "common" ? Math.max(finer.peak ?? 0, plain.peak ?? 0) : ((show === "plain" ? plain : finer).peak ?? 0);
    if (top > 0) {
      const ramp = draw("linearGradient", { id: "ramp" });
      const colours = bytesOf(view.data.colours);
      for (let i = 0; i < 256; i += 15) ramp.append(draw("stop", { offset: i / 255, "stop-color": `rgb(${colours[3 * i]},${colours[3 * i + 1]},${colours[3 * i + 2]})` }));
      parts.push(draw("defs", {}, ramp), draw("rect", { x: pad, y, width: width / 2, height: 10 * unit, fill: "url(#ramp)" }));
      y += 10 * unit;
      const size = 12 * unit;
      y += 1.3 * size;
      parts.push(draw("text", { x: pad, y, "font-size": size, "font-family": family, fill: "#5d5c58" }, "0"));
      parts.push(draw("text", { x: pad + width / 2, y, "font-size": size, "font-family": family, fill: "#5d5c58", "text-anchor": "end" }, number(top)));
    }
    write([this.barText.textContent, this.notice.textContent].filter(Boolean).join(". "), 12 * unit, "#5d5c58");
    if (this.regionSaid) write(this.regionSaid, 15 * unit, "#1b1b1a", "600");
    write(`finercam ${printable(view.data.finercam ?? "")}`, 10 * unit, "#8a8983");
    const size = [Math.round(width + 2 * pad), Math.round(y + pad)];
    const root = draw("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}` }, draw("title", {}, this.said()), draw("rect", { width: "100%", height: "100%", fill: "#fff" }), parts);
    this.schedule();
    return { text: new XMLSerializer().serializeToString(root), size };
  }

  async save(kind) {
    const { text, size } = this.svg();
    const name = `${printable(this.light.name).replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80) || "photo"}-finercam.${kind}`;
    const drawing = new Blob([text], { type: "image/svg+xml" });
    if (kind === "svg") return download(drawing, name);
    const image = new Image();
    image.src = URL.createObjectURL(drawing);
    await image.decode();
    const canvas = make("canvas", {});
    [canvas.width, canvas.height] = size;
    canvas.getContext("2d").drawImage(image, 0, 0);
    URL.revokeObjectURL(image.src);
    download(await new Promise((resolve) => canvas.toBlob(resolve, "image/png")), name);
  }
}

/** Return a region's shape; with an edge, a line so wide is around it. */
function regionShape(region, attributes, edge = 0) {
  if (region.kind === "box") {
    const { x0, y0, x1, y1 } = region;
    return draw("rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, "stroke-width": edge, ...attributes });
  }
  const { radius, strokes } = region;
  return draw(
    "g",
    {},
    strokes.map((points) =>
      points.length === 1
        ? draw("circle", { cx: points[0][0], cy: points[0][1], r: radius, "stroke-width": edge, ...attributes })
        : draw("polyline", { points: points.map((p) => p.join(",")).join(" "), "stroke-width": 2 * radius + edge, "stroke-linecap": "round", "stroke-linejoin": "round", ...attributes, fill: "none" }),
    ),
  );
}

/** Return the box around a region. */
function around(region) {
  if (region.kind === "box") return [region.x0, region.y0, region.x1, region.y1];
  const points = region.strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
}

function moved(region, dx, dy, [w, h]) {
  const [x0, y0, x1, y1] = around(region);
  const x = Math.min(w - x1, Math.max(-x0, dx));
  const y = Math.min(h - y1, Math.max(-y0, dy));
  if (region.kind === "box") return { ...region, x0: x0 + x, y0: y0 + y, x1: x1 + x, y1: y1 + y };
  return { ...region, strokes: region.strokes.map((points) => points.map(([a, b]) => [a + x, b + y])) };
}

function sized(region, dx, dy, [w, h], least) {
  if (region.kind === "strokes") return { ...region, radius: Math.min(Math.max(w, h), Math.max(least, region.radius + dx - dy)) };
  return { ...region, x1: Math.min(w, Math.max(region.x0 + least, region.x1 + dx)), y1: Math.min(h, Math.max(region.y0 + least, region.y1 + dy)) };
}

// ---------------------------------------------------------------- many photos

const classesOf = (light) => [light.target, light.predicted, light.known, ...(light.references ?? [])].filter(Number.isInteger);

const ORDERS = [
  ["given", "as given", () => 0],
  ["name", "name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  ["confidence", "confidence", (a, b) => (b.target_probability ?? b.probability) - (a.target_probability ?? a.probability)],
  ["margin", "margin", (a, b) => b.margin - a.margin],
  ["empty", "empty maps first", (a, b) => Number(b.empty) - Number(a.empty)],
  ["change", "how much the contrast changes the map", (a, b) => b.change - a.change],
];

/** Return a file's name that may be broken where people would break it. */
function broken(name) {
  return make("bdi", {}, name.split(/(?<=[_.-])/u).flatMap((part, i) => (i ? [make("wbr"), part] : [part])));
}

class Gallery {
  constructor(view) {
    this.view = view;
    const { photos } = view.data;
    const looks = (changes) => {
      Object.assign(view.gallery, changes);
      this.sync();
      view.save();
    };
    this.text = make("input", { type: "search", dir: "auto", placeholder: "Part of a file’s name", value: view.gallery.text, oninput: () => looks({ text: this.text.value }) });
    const classes = [...new Set(photos.flatMap(classesOf))];
    this.classes = chooser({ label: "Class", options: () => (this.known ??= classes.map((c) => view.classOption(c)).sort((a, b) => a.name.localeCompare(b.name))), onpick: (c) => looks({ class: c }), empty: "Any class" });
    this.order = picker("Sort by", ORDERS.map(([name, text]) => [name, text]), (order) => looks({ order }));
    this.back = make("input", { type: "checkbox", onchange: () => looks({ back: this.back.checked }) });
    this.count = make("p", { class: "fc-count", role: "status" });
    this.grid = make("ul", { class: "fc-grid-of-photos", onkeydown: (event) => this.key(event) });
    this.tiles = photos.map((light, i) => this.tile(light, i));
    this.node = make(
      "section",
      { class: "fc-gallery", "aria-label": "Photos" },
      make(
        "div",
        { class: "fc-filters" },
        make("label", { class: "fc-field" }, make("span", {}, "Name"), this.text),
        this.classes.node,
        this.order.node,
        make("label", { class: "fc-check" }, this.back, make("span", {}, "Backwards")),
      ),
      this.count,
      this.grid,
    );
    this.sync();
  }

  tile(light, i) {
    const { view } = this;
    const facts = [percent(light.target_probability ?? light.probability)];
    if (Number.isFinite(light.margin)) facts.push(`margin ${signed(light.margin)}`);
    if (Number.isFinite(light.change)) facts.push(`change ${percent(light.change)}`);
    const classes = { known: "really ", predicted: "model says " };
    const differs = Object.entries(classes).filter(([which]) => Number.isInteger(light[which]) && light[which] !== light.target);
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", class: "fc-tile", onclick: () => view.open(i) },
        make("img", { src: light.thumb, alt: "", loading: "lazy", decoding: "async" }),
        make("span", { class: "fc-tile-class" }, named(view.className(light.target))),
        differs.map(([which, words]) => make("span", { class: "fc-tile-name" }, words, named(view.className(light[which])))),
        make("span", { class: "fc-tile-name" }, broken(printable(light.name))),
        make("span", { class: "fc-tile-facts" }, light.empty ? make("b", { class: "fc-empty" }, "empty map") : null, facts.join(" · ")),
      ),
    );
  }

  /** Return the photos that pass the filters, in order. */
  shown() {
    const { text, class: c, order, back } = this.view.gallery;
    const words = folded(text).split(" ").filter(Boolean);
    const { photos } = this.view.data;
    const found = photos
      .map((light, i) => i)
      .filter((i) => c === null || classesOf(photos[i]).includes(c))
      .filter((i) => words.every((word) => folded(photos[i].name).includes(word)));
    const compare = ORDERS.find(([name]) => name === order)[2];
    found.sort((a, b) => compare(photos[a], photos[b]) || a - b);
    return back ? found.reverse() : found;
  }

  sync() {
    const { view } = this;
    const found = this.shown();
    this.grid.replaceChildren(...found.map((i) => this.tiles[i]));
    this.count.textContent = found.length === view.data.photos.length ? `${found.length} photos` : `${found.length} of ${view.data.photos.length} photos`;
    const c = view.gallery.class;
    this.classes.set(c === null ? [] : [{ index: c, name: view.className(c) }]);
    this.order.set(view.gallery.order);
    this.back.checked = view.gallery.back;
    if (this.text.value !== view.gallery.text) this.text.value = view.gallery.text;
  }

  key(event) {
    const buttons = [...this.grid.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const columns = buttons.findIndex((one) => one.getBoundingClientRect().top > buttons[0].getBoundingClientRect().top + 1);
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns < 0 ? 0 : columns, ArrowUp: columns < 0 ? 0 : -columns, Home: -at, End: buttons.length - 1 - at }[event.key];
    if (at < 0 || by === undefined) return;
    event.preventDefault();
    buttons[Math.min(buttons.length - 1, Math.max(0, at + by))].focus();
  }
}

// ---------------------------------------------------------------- the whole

class View {
  constructor(model, el) {
    this.model = model;
    this.data = model.get("data");
    this.carried = {};
    this.display = { show: "finer", wipe: 0.5, scale: "common", contour: 0, tool: "point" };
    this.gallery = { text: "", class: null, order: "given", back: false };
    this.names = new Map();
    this.ready = new Map();
    // A widget keeps its state with Python; a frame without an address of its own has no link to give.
    this.listened = model.get("state") !== undefined;
    this.linkable = !this.listened && /^(https?|file):$/.test(location.protocol);
    this.live = make("p", { class: "fc-live", "aria-live": "polite" });
    this.main = make("main", {});
    const { title, model: facts } = this.data;
    this.root = make("div", { class: "fc" }, make("header", { class: "fc-head" }, make("h1", {}, named(printable(title ?? "Why this class?")))), this.main, this.live);
    this.facts = facts;
    el.replaceChildren(this.root);
    this.onhash = () => location.hash !== this.written && this.readHash();
    if (this.linkable) window.addEventListener("hashchange", this.onhash);
    this.opened = this.readHash();
  }

  close() {
    window.removeEventListener("hashchange", this.onhash);
    clearTimeout(this.saving);
    clearTimeout(this.speaking);
    this.current?.close();
    this.root.remove();
  }

  /** Return a class's name for the screen. Two classes of one name get their indices. */
  className(c) {
    if (!this.names.has(c)) {
      const { names } = this.data.model;
      this.twice ??= twice((names ?? []).map(shortName));
      const short = names?.[c] === undefined ? `class ${c}` : shortName(names[c]);
      this.names.set(c, this.twice.has(short) ? `${short} (${c})` : short);
    }
    return this.names.get(c);
  }

  classOption(c) {
    const name = this.className(c);
    const raw = this.data.model.names?.[c] ?? "";
    const whole = printable(fullName(raw).replace(/\s*\([^()]*\)\s*$/, ""));
    const fold = folded(name);
    return { index: c, name, whole: whole && whole !== name && !name.startsWith(whole) ? whole : "", fold: [fold, ` ${fold} ${folded(raw)} ${c} `] };
  }

  place(index) {
    const order = this.order();
    const at = order.indexOf(index);
    return `${(at < 0 ? index : at) + 1} / ${at < 0 ? this.data.photos.length : order.length}`;
  }

  /** Return the photos to step through: those of the gallery as it is filtered and sorted. */
  order() {
    const shown = this.overview?.shown() ?? [];
    return shown.length ? shown : this.data.photos.map((_, i) => i);
  }

  step(by) {
    const order = this.order();
    if (order.length < 2 || !this.current) return;
    const at = order.indexOf(this.current.index);
    this.open(order[(at + by + order.length) % order.length], { focus: document.activeElement });
  }

  announce(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      if (this.live.textContent !== text) this.live.textContent = text;
    }, 700);
  }

  async photo(index) {
    if (!this.ready.has(index)) {
      if (this.ready.size > 4) this.ready.delete(this.ready.keys().next().value);
      const light = this.data.photos[index];
      const found = (async () => {
        const kept = light.kept ?? (await this.model.get(`kept/${index}`));
        if (!kept) throw new Error("this photo's evidence is missing from the page");
        return unpacked(kept);
      })();
      this.ready.set(index, found);
      found.catch(() => this.ready.delete(index));
    }
    return this.ready.get(index);
  }

  /** Return what a method answers about a photo, plain and finer: {map, error, saliency, peak} or {cannot, do} each. */
  async answer(index, question, method = 0) {
    const kept = await this.photo(index);
    return answered(kept, kept.answers[method], question);
  }

  /** Return a region's share of each class's logit: [[class, share], ...]. */
  async speaks(index, region) {
    const { shares, placement, image_size: input, size } = await this.photo(index);
    const found = speaks(shares, cover(regionMask(region, axesOf(placement, input, size)), input, shares.cells));
    return shares.classes.map((c, i) => [c, found[i]]);
  }

  /** Open a photo, or the gallery for null. */
  async open(index, { state, focus } = {}) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const { photos } = this.data;
    if (photos.length > 1) this.overview ??= new Gallery(this);
    if (index === null && photos.length > 1) {
      const from = this.current?.index;
      this.current?.close();
      this.current = null;
      this.overview.sync();
      this.main.replaceChildren(this.overview.node);
      if (from !== undefined) this.overview.tiles[from].querySelector("button").focus();
      return this.save();
    }
    const at = index ?? 0;
    if (!photos[at]) return this.main.replaceChildren(make("p", { class: "fc-notice" }, "There is no photo in this page."));
    let kept;
    try {
      kept = await this.photo(at);
    } catch (error) {
      if (turn === this.turn) this.main.replaceChildren(make("p", { class: "fc-notice", role: "alert" }, `This photo cannot be shown: ${printable(error.message)}.`), photos.length > 1 ? make("button", { type: "button", onclick: () => this.open(null) }, "← All photos") : "");
      return;
    }
    if (turn !== this.turn) return;
    const before = this.current;
    before?.close();
    this.current = new PhotoView(this, at, photos[at], kept);
    this.carry(this.current);
    if (state) this.restore(this.current, state);
    this.main.replaceChildren(this.current.node);
    this.current.refresh(1);
    if (before && focus) this.refocus(before, focus);
    else if (!before && photos.length > 1 && !state) this.current.surface.focus({ preventScroll: true });
    if (!before) this.root.scrollIntoView?.({ block: "nearest" });
    this.save();
  }

  /** Keep what has the focus when the photo is another one. */
  refocus(before, focus) {
    const path = [];
    for (let node = focus; node && node !== before.node; node = node.parentElement) path.unshift([...node.parentElement?.children ?? []].indexOf(node));
    let node = this.current.node;
    for (const i of path) node = node?.children[i];
    node?.focus?.({ preventScroll: true });
  }

  /** Strength and method stay what the reader made them; the classes are the photo's. */
  carry(one) {
    const { gamma, method } = this.carried;
    if (gamma !== undefined) one.question.gamma = gamma;
    const i = one.kept.answers.findIndex((answer) => answer.method === method);
    if (i >= 0) one.method = i;
  }

  // ------------------------------------------------------------ the address

  save() {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => (this.listened ? this.tell() : this.writeHash()), 200);
  }

  /** Let Python know what is asked and which region is marked, in fractions of the photo. */
  tell() {
    const one = this.current;
    this.model.set("state", one && { photo: one.index, method: one.answer.method, ...one.question });
    this.model.set("region", one?.region ? fractions(one.region, one.kept.size) : null);
    this.model.save_changes();
  }

  hash() {
    const found = new URLSearchParams();
    const put = (name, value, usual) => String(value) !== String(usual) && found.set(name, String(value));
    const one = this.current;
    const { gallery, display } = this;
    put("text", gallery.text, "");
    put("class", gallery.class ?? "", "");
    put("sort", gallery.order, "given");
    put("back", Number(gallery.back), 0);
    if (one) {
      const { question: q, asked } = one;
      if (this.data.photos.length > 1) found.set("photo", String(one.index + 1));
      put("why", q.target, asked.target);
      put("not", q.references.join("."), asked.references.join("."));
      put("gamma", q.gamma, asked.gamma);
      put("reverse", Number(q.reverse), Number(asked.reverse));
      put("weighting", q.weighting, asked.weighting);
      put("aggregate", q.aggregate, asked.aggregate);
      put("method", one.answer?.method, one.kept.answers[one.kept.asked.answer ?? 0]?.method);
      put("show", display.show, "finer");
      if (display.show === "compare") put("wipe", display.wipe.toFixed(2), "0.50");
      put("scale", display.scale, "common");
      put("top", display.contour, 0);
      if (one.region) found.set("region", regionText(one.region));
    }
    return found.toString();
  }

  writeHash() {
    if (!this.linkable) return;
    const text = this.hash();
    this.written = text ? `#${text}` : "";
    if (location.hash === this.written) return;
    try {
      history.replaceState(history.state, "", this.written || location.pathname + location.search);
    } catch {
      // A frame may not have a history: then there is no link either.
      this.linkable = false;
    }
  }

  async readHash() {
    const state = new URLSearchParams(this.linkable ? location.hash.slice(1) : "");
    const gallery = this.gallery;
    // A link says all that is not as it was asked.
    this.carried = {};
    const c = state.get("class");
    gallery.text = state.get("text") ?? "";
    gallery.class = c !== null && /^\d+$/.test(c) ? Number(c) : null;
    gallery.order = ORDERS.some(([name]) => name === state.get("sort")) ? state.get("sort") : "given";
    gallery.back = state.get("back") === "1";
    const choice = (name, among, usual) => (among.includes(state.get(name)) ? state.get(name) : usual);
    const wipe = Number(state.get("wipe") ?? 0.5);
    Object.assign(this.display, {
      show: choice("show", ["finer", "compare", "plain"], "finer"),
      scale: choice("scale", ["common", "own"], "common"),
      contour: Number(choice("top", ["5", "10", "20"], "0")),
      wipe: wipe >= 0 && wipe <= 1 ? wipe : 0.5,
    });
    const index = Number(state.get("photo")) - 1;
    await this.open(this.data.photos.length > 1 ? (this.data.photos[index] ? index : null) : 0, { state });
  }

  restore(one, state) {
    const { question: q, kept } = one;
    const known = (c) => /^\d+$/.test(c) && kept.classes.includes(Number(c));
    const choice = (name, among) => among.includes(state.get(name)) && (q[name] = state.get(name));
    if (known(state.get("why") ?? "")) q.target = Number(state.get("why"));
    if (state.has("not")) q.references = [...new Set(state.get("not").split(".").filter(known).map(Number))];
    q.references = q.references.filter((c) => c !== q.target);
    const i = kept.answers.findIndex((answer) => answer.method === state.get("method"));
    if (i >= 0) one.method = i;
    const gamma = state.has("gamma") ? Number(state.get("gamma")) : NaN;
    if (Number.isFinite(gamma)) {
      const [low, high] = [Math.min(-1, one.asked.gamma), Math.max(3, one.asked.gamma)];
      q.gamma = Math.min(high, Math.max(low, gamma));
    }
    if (state.has("reverse")) q.reverse = state.get("reverse") === "1";
    choice("aggregate", ["mean", "max", "mean-after-relu"]);
    choice("weighting", ["mean", "softmax", "official"]);
    if (q.weighting === "official" && (q.reverse || q.aggregate !== "mean")) q.weighting = "mean";
    if (q.weighting !== "mean" && q.aggregate === "max") q.weighting = "mean";
    one.region = regionOf(state.get("region"), kept.size);
  }
}

function twice(names) {
  const [seen, found] = [new Set(), new Set()];
  for (const name of names) (seen.has(name) ? found : seen).add(name);
  return found;
}

/** Return a region as fractions: {box: [x0, y0, x1, y1]}, or {discs: [[x, y, radius], ...]}, a radius of the width. */
function fractions(region, [w, h]) {
  if (region.kind === "box") return { box: [region.x0 / w, region.y0 / h, region.x1 / w, region.y1 / h] };
  const discs = region.strokes.flatMap((points) =>
    points.flatMap(([x, y], i) => {
      const [u, v] = points[Math.max(0, i - 1)];
      const count = Math.max(1, Math.ceil((8 * Math.hypot(x - u, y - v)) / region.radius));
      return Array.from({ length: count }, (_, k) => [u + ((x - u) * (k + 1)) / count, v + ((y - v) * (k + 1)) / count]);
    }),
  );
  return { discs: discs.map(([x, y]) => [x / w, y / h, region.radius / w]) };
}

const rounded = (v) => String(Math.round(10 * v) / 10);

/** Return a region as text for a link: box.x0.y0.x1.y1 with commas, or strokes,radius;x,y,x,y;... */
function regionText(region) {
  if (region.kind === "box") return ["box", ...[region.x0, region.y0, region.x1, region.y1].map(rounded)].join(",");
  return [`strokes,${rounded(region.radius)}`, ...region.strokes.map((points) => points.flat().map(rounded).join(","))].join(";");
}

function regionOf(text, [w, h]) {
  const [head, ...strokes] = (text ?? "").split(";");
  const [kind, ...given] = head.split(",");
  const sizes = given.map(Number);
  if (![...sizes, ...strokes.join(",").split(",").map(Number)].every(Number.isFinite)) return null;
  if (kind === "box" && sizes.length === 4) {
    const [x0, y0, x1, y1] = sizes.map((v, i) => Math.min(i % 2 ? h : w, Math.max(0, v)));
    return { kind, x0, y0, x1, y1 };
  }
  const lines = strokes.map((line) => line.split(",").map(Number)).map((flat) => flat.flatMap((x, i) => (i % 2 ? [] : [[x, flat[i + 1]]])));
  const whole = lines.length && lines.every((points) => points.length && points.every((point) => point.every(Number.isFinite)));
  return kind === "strokes" && sizes.length === 1 && sizes[0] > 0 && whole ? { kind, radius: sizes[0], strokes: lines } : null;
}

/** anywidget's entry: show `model.get("data")` in an element. The element's `view` is there for its host. */
export function render({ model, el }) {
  const view = new View(model, el);
  el.view = view;
  return () => view.close();
}

export default { render };
