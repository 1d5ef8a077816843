// Regions of a photo, which pixels and cells they cover, and what these speak for. A box or strokes, in the picture's pixels.

/** Return whether a point of the picture is in a region: a box, or strokes (lines of some radius). */
export function inRegion(region, x, y) {
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

/** Return the box around a region. */
function around(region) {
  if (region.kind === "box") return [region.x0, region.y0, region.x1, region.y1];
  const points = region.strokes.flat();
  const [xs, ys] = [points.map(([x]) => x), points.map(([, y]) => y)];
  return [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
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

export function moved(region, dx, dy, [w, h]) {
  const [x0, y0, x1, y1] = around(region);
  const x = Math.min(w - x1, Math.max(-x0, dx));
  const y = Math.min(h - y1, Math.max(-y0, dy));
  if (region.kind === "box") return { ...region, x0: x0 + x, y0: y0 + y, x1: x1 + x, y1: y1 + y };
  return { ...region, strokes: region.strokes.map((points) => points.map(([a, b]) => [a + x, b + y])) };
}

export function sized(region, dx, dy, [w, h], least) {
  if (region.kind === "strokes") return { ...region, radius: Math.min(Math.max(w, h), Math.max(least, region.radius + dx - dy)) };
  return { ...region, x1: Math.min(w, Math.max(region.x0 + least, region.x1 + dx)), y1: Math.min(h, Math.max(region.y0 + least, region.y1 + dy)) };
}

/** Return a region as fractions: {box: [x0, y0, x1, y1]}, or {discs: [[x, y, radius], ...]}, a radius of the width. */
export function fractions(region, [w, h]) {
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
