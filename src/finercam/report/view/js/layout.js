// The elements of one photo's page. What they show is brought up to date in sync.js.

import { chooser } from "./chooser.js";
import { drawCurves } from "./curves.js";
import { bytesOf } from "./data.js";
import { draw, make, newId, picker, segmented } from "./elements.js";
import { stageKey, stagePointer, wipeDrag, wipeKey } from "./marking.js";
import { copyLink, save } from "./saving.js";
import { printable } from "./words.js";

export function build(photo) {
  const { view, kept } = photo;
  const display = view.display;
  const [w, h] = kept.size;
  const ask = (changes) => photo.ask(changes);
  photo.heading = make("h2", { class: "fc-ask" });
  photo.details = make("p", { class: "fc-details" });

  photo.canvas = make("canvas", { role: "img" });
  photo.overlay = draw("svg", { class: "fc-overlay", viewBox: `0 0 ${w} ${h}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  photo.wipe = make(
    "div",
    { class: "fc-wipe", role: "slider", tabindex: "0", "aria-label": "Wipe between plain and finer", "aria-valuemin": "0", "aria-valuemax": "100", onkeydown: (event) => wipeKey(photo, event), onpointerdown: (event) => wipeDrag(photo, event) },
    make("span", { "aria-hidden": "true" }),
  );
  photo.tags = [make("span", { class: "fc-tag fc-left" }), make("span", { class: "fc-tag fc-right" })];
  photo.notice = make("p", { class: "fc-notice" });
  const help = newId("help");
  photo.surface = make(
    "div",
    { class: "fc-surface", tabindex: "0", role: "application", "aria-roledescription": "photo", "aria-label": "Choose a region of the photo", "aria-describedby": help, onkeydown: (event) => stageKey(photo, event), onpointerdown: (event) => stagePointer(photo, event) },
    photo.canvas,
    photo.overlay,
  );
  photo.stage = make("div", { class: "fc-stage" }, photo.surface, photo.tags, photo.wipe, photo.notice);
  photo.stage.style.maxWidth = `min(100%, calc(76vh * ${w / h}))`;

  photo.ramp = make("canvas", { width: 256, height: 1, "aria-hidden": "true" });
  const colours = bytesOf(view.data.colours);
  const strip = photo.ramp.getContext("2d");
  const line = strip.createImageData(256, 1);
  for (let i = 0; i < 256; i++) line.data.set([colours[3 * i], colours[3 * i + 1], colours[3 * i + 2], 255], 4 * i);
  strip.putImageData(line, 0, 0);
  photo.barMarks = make("span", { class: "fc-marks" });
  photo.barTop = make("span", {});
  photo.bar = make("div", { class: "fc-bar" }, make("span", {}, "0"), make("span", { class: "fc-ramp" }, photo.ramp, photo.barMarks), photo.barTop);
  photo.barText = make("p", { class: "fc-bartext" });

  const fixed = photo.kept.asked.objective || kept.answers.every((one) => one.kind === "fixed");
  photo.range = make("input", { type: "range", min: "-1", max: "3", step: "0.05", "aria-label": "gamma, the strength of the comparison", oninput: () => ask({ gamma: Number(photo.range.value) }) });
  photo.numberField = make("input", {
    type: "number",
    step: "0.05",
    "aria-label": "gamma",
    onchange: () => {
      const given = photo.numberField.valueAsNumber;
      ask({ gamma: Number.isFinite(given) ? Math.min(photo.limits[1], Math.max(photo.limits[0], given)) : photo.question.gamma });
    },
  });
  photo.marks = make("div", { class: "fc-ticks" });
  photo.strengthNote = make("p", { class: "fc-hint" });
  const gamma = make(
    "div",
    { class: "fc-gamma" },
    make("div", { class: "fc-gammahead" }, make("span", {}, "Strength ", make("i", {}, "gamma")), photo.numberField),
    photo.range,
    photo.marks,
    photo.strengthNote,
  );

  photo.target = chooser({ label: "Why", options: () => photo.options(), onpick: (c) => ask({ target: c, references: photo.question.references.filter((r) => r !== c) }) });
  photo.references = chooser({
    label: "and not",
    several: true,
    options: () => photo.options().filter(({ index }) => index !== photo.question.target && !photo.question.references.includes(index)),
    last: () => photo.question.references.at(-1),
    onpick: (c) => ask({ references: [...photo.question.references, c] }),
    onremove: (c) => ask({ references: photo.question.references.filter((r) => r !== c) }),
  });
  photo.reverse = make("input", { type: "checkbox", onchange: () => ask({ reverse: photo.reverse.checked }) });
  const reverse = make("label", { class: "fc-check" }, photo.reverse, make("span", {}, "Reverse: look for the others’ traits"));
  photo.weighting = picker("Weighting", [["mean", "mean (the paper)"], ["softmax", "softmax"], ["official", "official (the authors’ code)"]], (weighting) => ask({ weighting }));
  photo.aggregate = picker("References", [["mean", "mean"], ["max", "maximum"], ["mean-after-relu", "mean after the ReLU"]], (aggregate) => ask({ aggregate }));
  photo.more = make("details", { class: "fc-more-options" }, make("summary", {}, "How references are put together"), photo.weighting.node, photo.aggregate.node);
  photo.methodPicker = picker("Method", kept.answers.map((one, i) => [String(i), printable(one.title)]), (i) => {
    photo.method = Number(i);
    view.carried.method = photo.answer.method;
    photo.changed();
  });

  photo.show = segmented("Show", [["finer", "Finer"], ["compare", "Compare"], ["plain", "Plain"]], (show) => photo.look({ show }));
  photo.scale = segmented("Colours", [["common", "Common scale"], ["own", "Own scale"]], (scale) => photo.look({ scale }));
  photo.contour = segmented("Outline the top", [["0", "None"], ["5", "5 %"], ["10", "10 %"], ["20", "20 %"]], (top) => photo.look({ contour: Number(top) }));
  photo.tool = segmented("Region", [["point", "Point"], ["box", "Box"], ["brush", "Brush"]], (tool) => photo.look({ tool }));
  photo.clear = make("button", { type: "button", class: "fc-quiet", onclick: () => photo.setRegion(null) }, "Clear");

  photo.regionPart = make("section", { class: "fc-region-answer", "aria-label": "What the region speaks for" });
  photo.classes = make("section", { class: "fc-classes" });
  photo.curves = drawCurves(photo);
  photo.linkNote = make("div", { class: "fc-link" });
  const actions = make(
    "div",
    { class: "fc-actions" },
    view.linkable ? make("button", { type: "button", onclick: () => copyLink(photo) }, "Copy link") : null,
    make("button", { type: "button", onclick: () => save(photo, "png") }, "Save PNG"),
    make("button", { type: "button", onclick: () => save(photo, "svg") }, "Save SVG"),
    make("button", { type: "button", class: "fc-quiet", onclick: () => photo.reset() }, "Reset"),
  );
  const many = view.data.photos.length > 1;
  const step = (by) => make("button", { type: "button", "aria-label": by < 0 ? "Previous photo" : "Next photo", onclick: () => view.step(by) }, by < 0 ? "‹" : "›");
  photo.node = make(
    "article",
    { class: "fc-photo" },
    many
      ? make(
          "nav",
          { class: "fc-nav", "aria-label": "Photos" },
          make("button", { type: "button", class: "fc-quiet", onclick: () => view.open(null) }, "← All photos"),
          make("span", { class: "fc-where" }, view.place(photo.index)),
          step(-1),
          step(1),
        )
      : null,
    make("header", { class: "fc-question" }, photo.heading, photo.details),
    make(
      "figure",
      { class: "fc-figure" },
      photo.stage,
      make("figcaption", {}, photo.bar, photo.barText),
      fixed ? null : gamma,
      kept.shares
        ? make("div", { class: "fc-tools" }, photo.tool.node, photo.clear)
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
      photo.regionPart,
    ),
    make(
      "aside",
      { class: "fc-panel", "aria-label": "The question" },
      fixed ? null : [photo.target.node, photo.references.node, reverse],
      kept.answers.length > 1 ? photo.methodPicker.node : null,
      photo.show.node,
      photo.scale.node,
      photo.contour.node,
      fixed ? null : photo.more,
      actions,
      photo.linkNote,
      photo.classes,
      photo.curves,
    ),
  );
  photo.tool.set(display.tool);
  photo.observer = new ResizeObserver(() => photo.schedule());
  photo.observer.observe(photo.stage);
}
