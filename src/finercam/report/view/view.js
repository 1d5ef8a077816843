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
  if (answer.kind === "fixed") return { map: answer.table.map(question.plain ? 0 : 1), error: 0 };
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
  const missing = [target, ...(alone ? [] : references)].filter((c) => !kept.classes.includes(c));
  if (missing.length) return { cannot: "a class of this question was not kept", do: "run finercam again with it" };
  const map = mix(rows(question, kept), question.aggregate ?? "mean", (c) => answer.table.map(kept.classes.indexOf(c)), h * w);
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
  for (let i = 0; i < H; i++) {
    const y = (i + 0.5 - axes.y.shift) / axes.y.scale;
    if (y < 0 || y >= axes.y.photo) continue;
    for (let j = 0; j < W; j++) {
      const x = (j + 0.5 - axes.x.shift) / axes.x.scale;
      if (x >= 0 && x < axes.x.photo && inRegion(region, x, y)) mask[i * W + j] = 1;
    }
  }
  return mask;
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

/** Return each kept class's share of its logit in the covered cells, and in all of them: {region, all, rest}. */
export function speaks(shares, covered) {
  const [n, h, w] = shares.table.shape;
  const [region, all] = [new Float64Array(n), new Float64Array(n)];
  for (let i = 0; i < n; i++) {
    const map = shares.table.map(i);
    for (let j = 0; j < h * w; j++) {
      region[i] += covered[j] * map[j];
      all[i] += map[j];
    }
  }
  return { region, all, rest: shares.rest };
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

const number = (v, digits = 3) => {
  if (!Number.isFinite(v)) return "–";
  const text = Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(Number(v.toPrecision(digits)));
  return text.replace("-", "−");
};
const signed = (v) => (v > 0 ? "+" : "") + (Math.abs(v) >= 0.05 || v === 0 ? v.toFixed(1).replace("-", "−") : number(v, 1));
const percent = (p) => {
  const v = 100 * p;
  return `${v >= 1 || v === 0 ? v.toFixed(0) : number(v, 1)}\u00a0%`;
};

// ---------------------------------------------------------------- drawing (report/render.py)

/** Return for each of 256 strengths how much of the photo, of its muted grey, and which colour is drawn. */
function blending(colours) {
  const levels = { photo: new Float32Array(256), muted: new Float32Array(256), rgb: new Float32Array(768) };
  for (let i = 0; i < 256; i++) {
    const s = i / 255;
    const heat = 0.75 * s ** 0.8;
    levels.photo[i] = s * (1 - heat);
    levels.muted[i] = (1 - s) * (1 - heat);
    for (let k = 0; k < 3; k++) levels.rgb[3 * i + k] = heat * colours[3 * i + k];
  }
  return levels;
}

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
    this.photo = Uint8ClampedArray.from(this.pixels.data);
    this.muted = new Uint8ClampedArray(this.photo.length);
    this.hatch = new Uint8ClampedArray(this.photo.length);
    const step = Math.max(8, Math.floor(Math.min(width, height) / 40));
    for (let at = 0, i = 0; at < this.photo.length; at += 4, i++) {
      const [r, g, b] = [this.photo[at], this.photo[at + 1], this.photo[at + 2]];
      const grey = 0.299 * r + 0.587 * g + 0.114 * b;
      const line = ((i % width) + Math.floor(i / width)) % step < Math.max(1, Math.floor(step / 8));
      for (let k = 0; k < 3; k++) {
        this.muted[at + k] = 0.75 * (0.4 * this.photo[at + k] + 0.6 * grey);
        this.hatch[at + k] = line ? 150 : 0.35 * grey + 0.65 * 255;
      }
    }
  }

  /** Draw one map left of a column and the other from there on: [{heat, top}, {heat, top}], heat as of `toPhoto`. */
  paint(left, right, column) {
    const { plan, photo, muted, hatch, levels } = this;
    const out = this.pixels.data;
    for (let y = 0, i = 0, at = 0; y < plan.height; y++) {
      const down = plan.y.seen[y];
      for (let x = 0; x < plan.width; x++, i++, at += 4) {
        if (!down || !plan.x.seen[x]) {
          out[at] = hatch[at];
          out[at + 1] = hatch[at + 1];
          out[at + 2] = hatch[at + 2];
          continue;
        }
        const one = x < column ? left : right;
        let s = one && one.top > 0 ? (255 * one.heat[i]) / one.top : 0;
        s = s > 255 ? 255 : s | 0;
        const [a, b, c] = [levels.photo[s], levels.muted[s], 3 * s];
        out[at] = a * photo[at] + b * muted[at] + levels.rgb[c];
        out[at + 1] = a * photo[at + 1] + b * muted[at + 1] + levels.rgb[c + 1];
        out[at + 2] = a * photo[at + 2] + b * muted[at + 2] + levels.rgb[c + 2];
      }
    }
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
  const value = (i, j) => (i < 0 || j < 0 || i >= H || j >= W ? -1 : values[i * W + j] - level > 0 ? values[i * W + j] - level : Math.min(values[i * W + j] - level, -1e-12));
  const parts = [];
  for (let i = -1; i < H; i++)
    for (let j = -1; j < W; j++) {
      const corners = [value(i, j), value(i, j + 1), value(i + 1, j + 1), value(i + 1, j)];
      const points = [];
      const places = [[j, i, 1, 0], [j + 1, i, 0, 1], [j + 1, i + 1, -1, 0], [j, i + 1, 0, -1]];
      for (let k = 0; k < 4; k++) {
        const [a, b] = [corners[k], corners[(k + 1) % 4]];
        if (a > 0 === b > 0) continue;
        const [x, y, dx, dy] = places[k];
        const part = a / (a - b);
        points.push(`${across(Math.min(Math.max(x + dx * part, -0.5), W - 0.5))} ${down(Math.min(Math.max(y + dy * part, -0.5), H - 0.5))}`);
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
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
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
    if (!shown.length) popup.append(make("li", { class: "fc-more" }, "No class of that name"));
    if (found.length > shown.length) popup.append(make("li", { class: "fc-more" }, `${found.length - shown.length} more: type to narrow`));
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
export default { render() {} };
