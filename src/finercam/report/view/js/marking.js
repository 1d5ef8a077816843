// Hands on the photo: a pointer or keys that mark a region, and that wipe between plain and finer.

import { inRegion, moved, sized } from "./regions.js";

export function stagePointer(photo, event) {
  if (event.button !== 0 || !photo.kept.shares) return;
  const { tool } = photo.view.display;
  const from = photo.point(event);
  const before = photo.region;
  const moving = tool !== "brush" && before && inRegion(before, ...from);
  const start = [event.clientX, event.clientY];
  let dragged = false;
  if (tool === "brush") photo.setRegion({ kind: "strokes", radius: photo.radius, strokes: [...(before?.kind === "strokes" && photo.brushed ? before.strokes : []), [from]] });
  photo.brushed = tool === "brush";
  photo.surface.setPointerCapture(event.pointerId);
  const move = (next) => {
    const to = photo.point(next);
    dragged ||= Math.hypot(next.clientX - start[0], next.clientY - start[1]) > 4;
    if (tool === "brush") {
      const strokes = photo.region.strokes.slice();
      const last = strokes.at(-1).at(-1);
      if (Math.hypot(to[0] - last[0], to[1] - last[1]) < photo.region.radius / 4) return;
      strokes.push([...strokes.pop(), to]);
      photo.setRegion({ ...photo.region, strokes });
    } else if (dragged && moving) photo.setRegion(moved(before, to[0] - from[0], to[1] - from[1], photo.kept.size));
    else if (dragged && (tool === "box" || next.pointerType === "mouse"))
      photo.setRegion({ kind: "box", x0: Math.min(from[0], to[0]), y0: Math.min(from[1], to[1]), x1: Math.max(from[0], to[0]), y1: Math.max(from[1], to[1]) });
  };
  const done = (end) => {
    for (const [kind, act] of acts) photo.surface.removeEventListener(kind, act);
    if (end.type === "pointerup" && !dragged && tool !== "brush") photo.setRegion({ kind: "strokes", radius: photo.radius, strokes: [[from]] });
  };
  const acts = [["pointermove", move], ["pointerup", done], ["pointercancel", done]];
  for (const [kind, act] of acts) photo.surface.addEventListener(kind, act);
}

export function stageKey(photo, event) {
  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const [w, h] = photo.kept.size;
  if (event.key === "PageUp" || event.key === "PageDown") photo.view.step(event.key === "PageUp" ? -1 : 1);
  else if (event.altKey || event.ctrlKey || event.metaKey || !photo.kept.shares) return;
  else if (event.key === "Escape") photo.setRegion(null);
  else if (event.key === "Enter" || event.key === " " || (event.key in arrows && !photo.region)) {
    const r = 0.12 * Math.min(w, h);
    photo.setRegion({ kind: "box", x0: w / 2 - r, y0: h / 2 - r, x1: w / 2 + r, y1: h / 2 + r });
  } else if (event.key in arrows) {
    const step = 0.02 * Math.min(w, h);
    const [dx, dy] = arrows[event.key].map((d) => d * step);
    photo.setRegion(event.shiftKey ? sized(photo.region, dx, dy, photo.kept.size, photo.radius / 3) : moved(photo.region, dx, dy, photo.kept.size));
  } else return;
  event.preventDefault();
}

export function wipeKey(photo, event) {
  const by = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
  if (!by) return;
  event.preventDefault();
  photo.look({ wipe: Math.min(1, Math.max(0, photo.view.display.wipe + by)) });
}

export function wipeDrag(photo, event) {
  if (event.button !== 0) return;
  event.preventDefault();
  photo.wipe.focus();
  photo.wipe.setPointerCapture(event.pointerId);
  const move = (next) => photo.look({ wipe: photo.point(next)[0] / photo.kept.size[0] });
  const done = () => {
    photo.wipe.removeEventListener("pointermove", move);
    photo.wipe.removeEventListener("pointerup", done);
  };
  photo.wipe.addEventListener("pointermove", move);
  photo.wipe.addEventListener("pointerup", done);
}
