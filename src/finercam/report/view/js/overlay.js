// What lies over the photo: the line around the map's top, and the region.

import { contour, threshold } from "./drawing.js";
import { draw, newId } from "./elements.js";

export function drawOverlay(photo, shown, top) {
  const [w, h] = photo.kept.size;
  const parts = [];
  if (top && shown.saliency && shown.peak > 0) {
    if (photo.outline?.of !== shown || photo.outline.top !== top) {
      const level = Math.max(threshold(shown.saliency, photo.axes, top / 100), 0);
      photo.outline = { of: shown, top, path: contour(shown.saliency, photo.axes, level) };
    }
    parts.push(draw("path", { class: "fc-halo", d: photo.outline.path }), draw("path", { class: "fc-contour", d: photo.outline.path }));
  }
  if (photo.region) {
    const id = (photo.maskId ??= newId("mask"));
    parts.push(
      draw("mask", { id, maskUnits: "userSpaceOnUse", x: 0, y: 0, width: w, height: h }, draw("rect", { width: w, height: h, fill: "#fff" }), regionShape(photo.region, { fill: "#000", stroke: "#000" })),
      draw("rect", { width: w, height: h, fill: "#000", "fill-opacity": "0.3", mask: `url(#${id})` }),
      // A line around it, of which what is inside is masked.
      draw("g", { mask: `url(#${id})` }, regionShape(photo.region, { fill: "none", stroke: "#fff" }, (4 * w) / Math.max(1, photo.stage.clientWidth))),
    );
  }
  photo.overlay.replaceChildren(...parts);
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
