// What the page of one photo says and how its controls stand, brought in line with what is asked.

import { make, named } from "./elements.js";
import { drawOverlay } from "./overlay.js";
import { sameClasses } from "./question.js";
import { syncRegion } from "./spoken.js";
import { number, percent, printable, together } from "./words.js";

export function sync(photo) {
  const { view, kept, question, answer } = photo;
  const { show, scale, wipe, contour: top, tool } = view.display;
  const { finer, plain } = photo.compute();
  photo.heading.replaceChildren(
    ...photo.sentence().map((part) => (part.name ? named(part.text, { class: part.asked ? "fc-asked" : "fc-other" }) : together(part.text))),
  );
  photo.details.replaceChildren(...told(photo));

  const at = scale === "common" ? Math.max(finer.peak ?? 0, plain.peak ?? 0) : ((show === "plain" ? plain : finer).peak ?? 0);
  photo.bar.hidden = !(at > 0) || Boolean((show === "plain" ? plain : finer).cannot);
  photo.barTop.textContent = number(at);
  const peaks = [["finer", finer], ["plain", plain]].filter(([which, one]) => one.peak > 0 && (show === "compare" || show === which));
  photo.barMarks.replaceChildren(
    ...(scale === "common" ? peaks : []).map(([, one]) => {
      const mark = make("i", {});
      mark.style.left = `${(100 * one.peak) / at}%`;
      return mark;
    }),
  );
  photo.barText.textContent = peaks.map(([which, one]) => `${which === "plain" ? "plain" : "finer"} peak ${number(one.peak)}${scale === "own" && peaks.length > 1 ? " at full colour" : ""}`).join(", ");
  if (!kept.placement ? false : photo.layers.size && someUnseen(photo)) photo.barText.textContent += `${photo.barText.textContent ? "; " : ""}hatched: not seen by the model`;

  const shown = show === "plain" ? plain : finer;
  const problem = shown.cannot
    ? `This cannot be answered here: ${shown.cannot}. What would: ${shown.do}.`
    : shown.peak <= 0
      ? `Empty: nothing speaks for ${show !== "plain" && question.reverse ? "this" : photo.name(question.target)}${show === "plain" || kept.asked.objective ? "" : " in this comparison"}.`
      : "";
  photo.notice.textContent = problem;
  photo.notice.hidden = !problem;

  const compare = show === "compare";
  photo.wipe.hidden = !compare;
  photo.tags.forEach((tag) => (tag.hidden = !compare));
  if (compare) {
    photo.wipe.style.left = `${100 * wipe}%`;
    photo.wipe.setAttribute("aria-valuenow", Math.round(100 * wipe));
    photo.wipe.setAttribute("aria-valuetext", `${Math.round(100 * wipe)} % plain`);
    photo.tags[0].textContent = `${printable(answer.title)}${plain.peak <= 0 ? ": empty" : ""}`;
    photo.tags[1].textContent = `Finer ${printable(answer.title)}${finer.peak <= 0 ? ": empty" : ""}`;
  }
  photo.canvas.setAttribute("aria-label", describe(photo, shown, problem));
  drawOverlay(photo, shown, top);
  photo.surface.classList.toggle("fc-drawing", tool !== "point");

  photo.limits = limitsOf(photo);
  const [low, high] = photo.limits;
  Object.assign(photo.range, { min: String(low), max: String(high) });
  Object.assign(photo.numberField, { min: String(low), max: String(high) });
  photo.range.value = String(question.gamma);
  photo.range.setAttribute("aria-valuetext", `gamma ${question.gamma}`);
  if (document.activeElement !== photo.numberField || photo.numberField.valueAsNumber !== question.gamma) photo.numberField.value = String(question.gamma);
  setMarks(photo, low, high);
  photo.strengthNote.textContent =
    answer.kind !== "strengths" || finer.cannot
      ? ""
      : finer.error
        ? `Interpolated between strengths that were computed: off by at most ${percent(finer.error)} of the peak.`
        : "Computed at this strength.";
  photo.target.set([{ index: question.target, name: photo.name(question.target) }]);
  const chosen = JSON.stringify(question.references);
  if (photo.chosen !== chosen) {
    photo.chosen = chosen;
    photo.references.set(question.references.map((c) => ({ index: c, name: photo.name(c), note: photo.strength(c) })));
  }
  photo.reverse.checked = question.reverse;
  photo.weighting.set(question.weighting);
  photo.aggregate.set(question.aggregate);
  photo.more.hidden = answer.kind !== "classes";
  photo.methodPicker.set(String(photo.method));
  photo.show.set(show);
  photo.scale.set(scale);
  photo.contour.set(String(top));
  photo.tool.set(tool);
  photo.clear.disabled = !photo.region;
  syncClasses(photo);
  syncRegion(photo);
  view.announce([problem || describe(photo, shown, ""), photo.region ? (photo.regionSaid ?? "") : ""].join(" "));
}

function someUnseen(photo) {
  const { x, y } = [...photo.layers.values()][0].plan;
  return x.seen.includes(0) || y.seen.includes(0);
}

function limitsOf(photo) {
  const { answer, question } = photo;
  if (answer.kind === "strengths") {
    const table = answer.tables.find((one) => one.target === question.target && sameClasses(one.references, question.references) && one.reverse === question.reverse) ?? answer.tables[0];
    return [table.strengths[0], table.strengths.at(-1)];
  }
  return [Math.min(-1, photo.asked.gamma), Math.max(3, photo.asked.gamma)];
}

function setMarks(photo, low, high) {
  const key = `${low} ${high}`;
  if (photo.marked === key) return;
  photo.marked = key;
  const said = [[0, "plain"], [0.6, "default"], [1, "even"]];
  photo.marks.replaceChildren(
    ...said
      .filter(([value]) => value >= low && value <= high)
      .map(([value, what]) => {
        const mark = make("button", { type: "button", title: what, "aria-label": `gamma ${value}, ${what}`, onclick: () => photo.ask({ gamma: value }) }, String(value));
        mark.style.setProperty("--at", String((value - low) / (high - low)));
        return mark;
      }),
  );
}

/** What is beneath the question: what the model says, and how it was answered. */
function told(photo) {
  const { light, answer, view, kept } = photo;
  const predicted = light.predicted;
  const parts = [];
  if (!view.data.model.similarity && predicted !== undefined && predicted !== null)
    parts.push("The model says ", named(photo.name(predicted)), ` (${percent(light.probability)})`, predicted === photo.question.target ? ". " : ", not what is asked about. ");
  parts.push(`${printable(answer.title)} of `, named(printable(view.data.model.name)), ", photo ", named(printable(light.name)), ".");
  if (!kept.answers.length) parts.push(" No maps were kept.");
  return parts;
}

function describe(photo, shown, problem) {
  if (problem) return `${photo.said()}. ${problem}`;
  if (!shown.saliency) return photo.said();
  const [, W] = photo.kept.image_size;
  const { x, y } = photo.axes;
  const [u, v] = [((shown.at % W) + 0.5 - x.shift) / x.scale / x.photo, (Math.floor(shown.at / W) + 0.5 - y.shift) / y.scale / y.photo];
  const third = (p, words) => words[Math.min(2, Math.max(0, Math.floor(3 * p)))];
  const place = [third(v, ["upper", "", "lower"]), third(u, ["left", "", "right"])].filter(Boolean).join(" ") || "middle";
  return `${photo.said()}. Strongest in the ${place} of the photo, peak ${number(shown.peak)}.`;
}

function syncClasses(photo) {
  const { question, kept, light } = photo;
  const key = JSON.stringify([question.target, question.references]);
  if (photo.listed === key) return;
  photo.listed = key;
  const values = photo.view.data.model.similarity && kept.similarities ? kept.similarities : kept.probabilities;
  const classes = [...new Set([question.target, ...question.references.slice(0, 8), light.predicted])].filter((c) => kept.classes.includes(c));
  const value = (c) => values[kept.classes.indexOf(c)];
  const most = Math.max(...classes.map(value), photo.view.data.model.similarity ? 1e-9 : 1);
  photo.classes.replaceChildren(
    make("h3", {}, photo.view.data.model.similarity ? "Similarity" : "What the model says"),
    make(
      "ul",
      { class: "fc-list" },
      classes.map((c) => {
        const bar = make("span", { class: "fc-fill" });
        bar.style.width = `${Math.max(0, (100 * value(c)) / most)}%`;
        return make(
          "li",
          { class: c === question.target ? "fc-target" : "" },
          make("span", { class: "fc-line" }, named(photo.name(c)), make("span", { class: "fc-value" }, photo.strength(c))),
          make("span", { class: "fc-track", "aria-hidden": "true" }, bar),
        );
      }),
    ),
  );
}
