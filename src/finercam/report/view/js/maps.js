// Maps, and where things are in the photo and in the model's input: what methods/maps.py and data/placement.py do.

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
