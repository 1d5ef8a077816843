// Deletion curves.

import { draw, make, named } from "./elements.js";
import { percent, printable } from "./words.js";

export function drawCurves(photo) {
  const { curves } = photo.kept;
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
    make("p", { class: "fc-hint" }, "Solid: ", named(photo.name(photo.asked.target)), second === null ? "." : [". Dashed: ", named(photo.name(second)), "."]),
  );
}
