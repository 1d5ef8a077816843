// What leaves the page: a link, and what is shown as a picture.

import { writeHash } from "./address.js";
import { bytesOf } from "./data.js";
import { LARGEST } from "./drawing.js";
import { draw, furnish, make } from "./elements.js";
import { number, printable, together } from "./words.js";

export async function copyLink(photo) {
  writeHash(photo.view);
  const text = location.href;
  try {
    await navigator.clipboard.writeText(text);
    photo.linkNote.replaceChildren(make("p", { class: "fc-hint" }, "The link is in the clipboard. It opens this question again."));
    photo.view.announce("Link copied.");
  } catch {
    const field = make("input", { type: "text", readonly: true, value: text, "aria-label": "Link to this question" });
    photo.linkNote.replaceChildren(make("p", { class: "fc-hint" }, "Copy this link:"), field);
    field.focus();
    field.select();
  }
}

/** Return what is shown as an SVG picture with its question, colour bar and peak. */
function svg(photo) {
  const { kept, view, answer } = photo;
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
  const isolated = photo.sentence().map((part) => (part.name ? `\u2068${part.text}\u2069` : together(part.text)));
  write(isolated.join(""), 21 * unit, "#1b1b1a", "600");
  const { show, scale } = view.display;
  const { finer, plain } = photo.compute();
  const which = { finer: `Finer ${answer.title}`, plain: answer.title, compare: `left ${answer.title}, right Finer ${answer.title}` }[show];
  write(printable(`${which} · ${view.data.model.name} · ${photo.light.name}`), 13 * unit, "#5d5c58");
  y += pad / 1.5;
  const picture = photo.picture(width).toDataURL("image/png");
  parts.push(draw("image", { href: picture, x: pad, y, width, height }));
  const overlay = photo.overlay.cloneNode(true);
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
  write([photo.barText.textContent, photo.notice.textContent].filter(Boolean).join(". "), 12 * unit, "#5d5c58");
  if (photo.regionSaid) write(photo.regionSaid, 15 * unit, "#1b1b1a", "600");
  write(`finercam ${printable(view.data.finercam ?? "")}`, 10 * unit, "#8a8983");
  const size = [Math.round(width + 2 * pad), Math.round(y + pad)];
  const root = draw("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}` }, draw("title", {}, photo.said()), draw("rect", { width: "100%", height: "100%", fill: "#fff" }), parts);
  photo.schedule();
  return { text: new XMLSerializer().serializeToString(root), size };
}

export async function save(photo, kind) {
  const { text, size } = svg(photo);
  const name = `${printable(photo.light.name).replace(/\.[^.]*$/, "").replace(/[^\p{L}\p{N}._-]+/gu, "_").slice(0, 80) || "photo"}-finercam.${kind}`;
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

function download(blob, name) {
  const address = URL.createObjectURL(blob);
  const link = make("a", { href: address, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}
