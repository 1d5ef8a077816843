// What a region speaks for, in words and bars.

import { make, named } from "./elements.js";
import { number, percent, printable, signed } from "./words.js";

export function syncRegion(photo) {
  const spoken = photo.speaks();
  const key = spoken && JSON.stringify([photo.question.target, photo.question.references, photo.all]);
  if (photo.regionShown === spoken && photo.regionKey === key) return;
  [photo.regionShown, photo.regionKey] = [spoken, key];
  photo.regionSaid = "";
  if (!spoken) return photo.regionPart.replaceChildren();
  const { kept, question } = photo;
  if (!spoken.pixels) {
    photo.regionSaid = "The model did not see this region.";
    return photo.regionPart.replaceChildren(make("p", { class: "fc-region-said" }, photo.regionSaid));
  }
  const { classes, rest } = kept.shares;
  const logit = (c) => kept.logits[kept.classes.indexOf(c)];
  const t = classes.indexOf(question.target);
  const over = (c) => {
    const i = classes.indexOf(c);
    return { c, own: spoken.region[i], region: spoken.region[t] - spoken.region[i], rest: rest[t] - rest[i], whole: logit(question.target) - logit(c) };
  };
  const others = t < 0 ? [] : classes.filter((c) => c !== question.target).map(over).sort((a, b) => b.region - a.region);
  const references = question.references.map((c) => others.find((one) => one.c === c)).filter(Boolean);
  const further = others.filter((one) => !references.includes(one));
  const few = 4;
  const shortList = [...further.slice(0, few), ...further.slice(few).slice(-few)];
  const most = Math.max(1e-12, ...[...references, ...shortList].map((one) => Math.abs(one.region)));
  const target = photo.name(question.target);
  const first = references[0] ?? shortList[0];
  photo.regionSaid = first ? `This region: ${signed(first.region)} for ${target} over ${photo.name(first.c)}.` : "";
  const row = (one, whole) => {
    const bar = make("span", { class: one.region >= 0 ? "fc-for" : "fc-against" });
    bar.style.width = `${(50 * Math.abs(one.region)) / most}%`;
    const part = Math.abs(one.whole) > 1e-9 ? `${number((100 * one.region) / one.whole, 2)}\u00a0% of ` : "of ";
    return make(
      "li",
      {},
      make("span", { class: "fc-line" }, make("span", {}, "over ", named(photo.name(one.c))), make("span", { class: "fc-value" }, signed(one.region))),
      make("span", { class: "fc-track fc-signed", "aria-hidden": "true" }, bar),
      whole ? make("span", { class: "fc-hint" }, `${part}the whole difference of ${signed(one.whole)}; ${kept.shares.exact ? "bias" : "the rest"} ${signed(one.rest)}`) : null,
    );
  };
  const why = printable(kept.shares.sentence ?? "").replace(/^(exact|an attribution): /, "").replace(/\.$/, "");
  photo.regionPart.replaceChildren(
    first
      ? make("p", { class: "fc-region-said" }, "This region: ", make("strong", {}, signed(first.region)), " for ", named(target), " over ", named(photo.name(first.c)))
      : make("p", {}, t < 0 ? "No shares were kept of this class; run finercam again with it." : "There is no class to compare with."),
    make("p", { class: "fc-hint" }, make("b", {}, kept.shares.exact ? "Exact" : "An attribution"), why ? `: ${why}.` : ".", ` The region is ${percent(spoken.share)} of what the model saw.`),
    make("ul", { class: "fc-list" }, references.map((one) => row(one, true))),
    make(
      "div",
      { class: "fc-two" },
      [[further.slice(0, few), "Other classes, most"], [further.slice(few).slice(-few), "and least"]].map(([part, words]) =>
        part.length ? make("div", {}, make("h3", {}, words), make("ul", { class: "fc-list" }, part.map((one) => row(one, false)))) : null,
      ),
    ),
    make(
      "button",
      {
        type: "button",
        class: "fc-quiet",
        "aria-expanded": photo.all ? "true" : "false",
        onclick: () => {
          photo.all = !photo.all;
          syncRegion(photo);
          photo.regionPart.querySelector("button").focus();
        },
      },
      photo.all ? "Show fewer" : `Show all ${others.length} other classes`,
    ),
    photo.all ? regionTable(photo, spoken.region[t], others) : "",
  );
}

function regionTable(photo, own, ordered) {
  const head = ["Class", "its logit: this region", "difference: this region", "whole", photo.kept.shares.exact ? "bias" : "rest"];
  const target = named(photo.name(photo.question.target));
  return make(
    "div",
    { class: "fc-scroll", tabindex: "0", role: "region", "aria-label": "All classes" },
    make(
      "table",
      {},
      make("caption", {}, target, ` over each class, in logits. Of its own logit this region has ${signed(own)}.`),
      make("thead", {}, make("tr", {}, head.map((text) => make("th", { scope: "col" }, text)))),
      make(
        "tbody",
        {},
        ordered.map((one) =>
          make("tr", {}, make("th", { scope: "row" }, named(photo.name(one.c))), [one.own, one.region, one.whole, one.rest].map((v) => make("td", {}, signed(v)))),
        ),
      ),
    ),
  );
}
