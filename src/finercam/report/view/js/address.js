// The page's address: what is shown, and how it was asked, as a link keeps it.

import { ORDERS } from "./gallery.js";

function hash(view) {
  const found = new URLSearchParams();
  const put = (name, value, usual) => String(value) !== String(usual) && found.set(name, String(value));
  const one = view.current;
  const { gallery, display } = view;
  put("text", gallery.text, "");
  put("class", gallery.class ?? "", "");
  put("sort", gallery.order, "given");
  put("back", Number(gallery.back), 0);
  if (one) {
    const { question: q, asked } = one;
    if (view.data.photos.length > 1) found.set("photo", String(one.index + 1));
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

export function writeHash(view) {
  if (!view.linkable) return;
  const text = hash(view);
  view.written = text ? `#${text}` : "";
  if (location.hash === view.written) return;
  try {
    history.replaceState(history.state, "", view.written || location.pathname + location.search);
  } catch {
    // A frame may not have a history: then there is no link either.
    view.linkable = false;
  }
}

export async function readHash(view) {
  const state = new URLSearchParams(view.linkable ? location.hash.slice(1) : "");
  const gallery = view.gallery;
  // A link says all that is not as it was asked.
  view.carried = {};
  const c = state.get("class");
  gallery.text = state.get("text") ?? "";
  gallery.class = c !== null && /^\d+$/.test(c) ? Number(c) : null;
  gallery.order = ORDERS.some(([name]) => name === state.get("sort")) ? state.get("sort") : "given";
  gallery.back = state.get("back") === "1";
  const choice = (name, among, usual) => (among.includes(state.get(name)) ? state.get(name) : usual);
  const wipe = Number(state.get("wipe") ?? 0.5);
  Object.assign(view.display, {
    show: choice("show", ["finer", "compare", "plain"], "finer"),
    scale: choice("scale", ["common", "own"], "common"),
    contour: Number(choice("top", ["5", "10", "20"], "0")),
    wipe: wipe >= 0 && wipe <= 1 ? wipe : 0.5,
  });
  const index = Number(state.get("photo")) - 1;
  await view.open(view.data.photos.length > 1 ? (view.data.photos[index] ? index : null) : 0, { state });
}

export function restore(one, state) {
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
