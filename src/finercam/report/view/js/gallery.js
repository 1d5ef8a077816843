// Many photos: the gallery, its filters and its orders.

import { chooser } from "./chooser.js";
import { make, named, picker } from "./elements.js";
import { folded, percent, printable, signed } from "./words.js";

const classesOf = (light) => [light.target, light.predicted, light.known, ...(light.references ?? [])].filter(Number.isInteger);

export const ORDERS = [
  ["given", "as given", () => 0],
  ["name", "name", (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true })],
  ["confidence", "confidence", (a, b) => (b.target_probability ?? b.probability) - (a.target_probability ?? a.probability)],
  ["margin", "margin", (a, b) => b.margin - a.margin],
  ["empty", "empty maps first", (a, b) => Number(b.empty) - Number(a.empty)],
  ["change", "how much the contrast changes the map", (a, b) => b.change - a.change],
];

/** Return a file's name that may be broken where people would break it. */
function broken(name) {
  return make("bdi", {}, name.split(/(?<=[_.-])/u).flatMap((part, i) => (i ? [make("wbr"), part] : [part])));
}

export class Gallery {
  constructor(view) {
    this.view = view;
    const { photos } = view.data;
    const looks = (changes) => {
      Object.assign(view.gallery, changes);
      this.sync();
      view.save();
    };
    this.text = make("input", { type: "search", dir: "auto", placeholder: "Part of a file’s name", value: view.gallery.text, oninput: () => looks({ text: this.text.value }) });
    const classes = [...new Set(photos.flatMap(classesOf))];
    this.classes = chooser({ label: "Class", options: () => (this.known ??= classes.map((c) => view.classOption(c)).sort((a, b) => a.name.localeCompare(b.name))), onpick: (c) => looks({ class: c }), empty: "Any class" });
    this.order = picker("Sort by", ORDERS.map(([name, text]) => [name, text]), (order) => looks({ order }));
    this.back = make("input", { type: "checkbox", onchange: () => looks({ back: this.back.checked }) });
    this.count = make("p", { class: "fc-count", role: "status" });
    this.grid = make("ul", { class: "fc-grid-of-photos", onkeydown: (event) => this.key(event) });
    this.tiles = photos.map((light, i) => this.tile(light, i));
    this.node = make(
      "section",
      { class: "fc-gallery", "aria-label": "Photos" },
      make(
        "div",
        { class: "fc-filters" },
        make("label", { class: "fc-field" }, make("span", {}, "Name"), this.text),
        this.classes.node,
        this.order.node,
        make("label", { class: "fc-check" }, this.back, make("span", {}, "Backwards")),
      ),
      this.count,
      this.grid,
    );
    this.sync();
  }

  tile(light, i) {
    const { view } = this;
    const facts = [percent(light.target_probability ?? light.probability)];
    if (Number.isFinite(light.margin)) facts.push(`margin ${signed(light.margin)}`);
    if (Number.isFinite(light.change)) facts.push(`change ${percent(light.change)}`);
    const classes = { known: "really ", predicted: "model says " };
    const differs = Object.entries(classes).filter(([which]) => Number.isInteger(light[which]) && light[which] !== light.target);
    return make(
      "li",
      {},
      make(
        "button",
        { type: "button", class: "fc-tile", onclick: () => view.open(i) },
        make("img", { src: light.thumb, alt: "", loading: "lazy", decoding: "async" }),
        make("span", { class: "fc-tile-class" }, named(view.className(light.target))),
        differs.map(([which, words]) => make("span", { class: "fc-tile-name" }, words, named(view.className(light[which])))),
        make("span", { class: "fc-tile-name" }, broken(printable(light.name))),
        make("span", { class: "fc-tile-facts" }, light.empty ? make("b", { class: "fc-empty" }, "empty map") : null, facts.join(" · ")),
      ),
    );
  }

  /** Return the photos that pass the filters, in order. */
  shown() {
    const { text, class: c, order, back } = this.view.gallery;
    const words = folded(text).split(" ").filter(Boolean);
    const { photos } = this.view.data;
    const found = photos
      .map((light, i) => i)
      .filter((i) => c === null || classesOf(photos[i]).includes(c))
      .filter((i) => words.every((word) => folded(photos[i].name).includes(word)));
    const compare = ORDERS.find(([name]) => name === order)[2];
    found.sort((a, b) => compare(photos[a], photos[b]) || a - b);
    return back ? found.reverse() : found;
  }

  sync() {
    const { view } = this;
    const found = this.shown();
    this.grid.replaceChildren(...found.map((i) => this.tiles[i]));
    this.count.textContent = found.length === view.data.photos.length ? `${found.length} photos` : `${found.length} of ${view.data.photos.length} photos`;
    const c = view.gallery.class;
    this.classes.set(c === null ? [] : [{ index: c, name: view.className(c) }]);
    this.order.set(view.gallery.order);
    this.back.checked = view.gallery.back;
    if (this.text.value !== view.gallery.text) this.text.value = view.gallery.text;
  }

  key(event) {
    const buttons = [...this.grid.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement);
    const columns = buttons.findIndex((one) => one.getBoundingClientRect().top > buttons[0].getBoundingClientRect().top + 1);
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns < 0 ? 0 : columns, ArrowUp: columns < 0 ? 0 : -columns, Home: -at, End: buttons.length - 1 - at }[event.key];
    if (at < 0 || by === undefined) return;
    event.preventDefault();
    buttons[Math.min(buttons.length - 1, Math.max(0, at + by))].focus();
  }
}
