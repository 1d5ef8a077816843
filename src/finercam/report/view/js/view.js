// The live view of explanations: their kept evidence, asked again without the model. The entry, in anywidget's shape.
//
// What is computed (data, question, answers, maps, regions, words) does what Python does, in pure functions; the other
// modules are what is on the screen. None depends on anything from elsewhere, and bundle.py makes one text of them.
// Names are others' text: they are set as text only.

import { readHash, restore, writeHash } from "./address.js";
import { answered } from "./answers.js";
import { unpacked } from "./data.js";
import { make, named } from "./elements.js";
import { Gallery } from "./gallery.js";
import { axesOf } from "./maps.js";
import { PhotoView } from "./photo.js";
import { cover, fractions, regionMask, speaks } from "./regions.js";
import { folded, fullName, printable, shortName, twice } from "./words.js";

class View {
  constructor(model, el) {
    this.model = model;
    this.data = model.get("data");
    this.carried = {};
    this.display = { show: "finer", wipe: 0.5, scale: "common", contour: 0, tool: "point" };
    this.gallery = { text: "", class: null, order: "given", back: false };
    this.names = new Map();
    this.ready = new Map();
    // A widget keeps its state with Python; a frame without an address of its own has no link to give.
    this.listened = model.get("state") !== undefined;
    this.linkable = !this.listened && /^(https?|file):$/.test(location.protocol);
    this.live = make("p", { class: "fc-live", "aria-live": "polite" });
    this.main = make("main", {});
    const { title, model: facts } = this.data;
    this.root = make("div", { class: "fc" }, make("header", { class: "fc-head" }, make("h1", {}, named(printable(title ?? "Why this class?")))), this.main, this.live);
    this.facts = facts;
    el.replaceChildren(this.root);
    this.onhash = () => location.hash !== this.written && readHash(this);
    if (this.linkable) window.addEventListener("hashchange", this.onhash);
    this.opened = readHash(this);
  }

  close() {
    window.removeEventListener("hashchange", this.onhash);
    clearTimeout(this.saving);
    clearTimeout(this.speaking);
    this.current?.close();
    this.root.remove();
  }

  /** Return a class's name for the screen. Two classes of one name get their indices. */
  className(c) {
    if (!this.names.has(c)) {
      const { names } = this.data.model;
      this.twice ??= twice((names ?? []).map(shortName));
      const short = names?.[c] === undefined ? `class ${c}` : shortName(names[c]);
      this.names.set(c, this.twice.has(short) ? `${short} (${c})` : short);
    }
    return this.names.get(c);
  }

  classOption(c) {
    const name = this.className(c);
    const raw = this.data.model.names?.[c] ?? "";
    const whole = printable(fullName(raw).replace(/\s*\([^()]*\)\s*$/, ""));
    const fold = folded(name);
    return { index: c, name, whole: whole && whole !== name && !name.startsWith(whole) ? whole : "", fold: [fold, ` ${fold} ${folded(raw)} ${c} `] };
  }

  place(index) {
    const order = this.order();
    const at = order.indexOf(index);
    return `${(at < 0 ? index : at) + 1} / ${at < 0 ? this.data.photos.length : order.length}`;
  }

  /** Return the photos to step through: those of the gallery as it is filtered and sorted. */
  order() {
    const shown = this.overview?.shown() ?? [];
    return shown.length ? shown : this.data.photos.map((_, i) => i);
  }

  step(by) {
    const order = this.order();
    if (order.length < 2 || !this.current) return;
    const at = order.indexOf(this.current.index);
    this.open(order[(at + by + order.length) % order.length], { focus: document.activeElement });
  }

  announce(text) {
    clearTimeout(this.speaking);
    this.speaking = setTimeout(() => {
      if (this.live.textContent !== text) this.live.textContent = text;
    }, 700);
  }

  async photo(index) {
    if (!this.ready.has(index)) {
      if (this.ready.size > 4) this.ready.delete(this.ready.keys().next().value);
      const light = this.data.photos[index];
      const found = (async () => {
        const kept = light.kept ?? (await this.model.get(`kept/${index}`));
        if (!kept) throw new Error("this photo's evidence is missing from the page");
        return unpacked(kept);
      })();
      this.ready.set(index, found);
      found.catch(() => this.ready.delete(index));
    }
    return this.ready.get(index);
  }

  /** Return what a method answers about a photo, plain and finer: {map, error, saliency, peak} or {cannot, do} each. */
  async answer(index, question, method = 0) {
    const kept = await this.photo(index);
    return answered(kept, kept.answers[method], question);
  }

  /** Return a region's share of each class's logit: [[class, share], ...]. */
  async speaks(index, region) {
    const { shares, placement, image_size: input, size } = await this.photo(index);
    const found = speaks(shares, cover(regionMask(region, axesOf(placement, input, size)), input, shares.cells));
    return shares.classes.map((c, i) => [c, found[i]]);
  }

  /** Open a photo, or the gallery for null. */
  async open(index, { state, focus } = {}) {
    const turn = (this.turn = (this.turn ?? 0) + 1);
    const { photos } = this.data;
    if (photos.length > 1) this.overview ??= new Gallery(this);
    if (index === null && photos.length > 1) {
      const from = this.current?.index;
      this.current?.close();
      this.current = null;
      this.overview.sync();
      this.main.replaceChildren(this.overview.node);
      if (from !== undefined) this.overview.tiles[from].querySelector("button").focus();
      return this.save();
    }
    const at = index ?? 0;
    if (!photos[at]) return this.main.replaceChildren(make("p", { class: "fc-notice" }, "There is no photo in this page."));
    let kept;
    try {
      kept = await this.photo(at);
    } catch (error) {
      if (turn === this.turn) this.main.replaceChildren(make("p", { class: "fc-notice", role: "alert" }, `This photo cannot be shown: ${printable(error.message)}.`), photos.length > 1 ? make("button", { type: "button", onclick: () => this.open(null) }, "← All photos") : "");
      return;
    }
    if (turn !== this.turn) return;
    const before = this.current;
    before?.close();
    this.current = new PhotoView(this, at, photos[at], kept);
    this.carry(this.current);
    if (state) restore(this.current, state);
    this.main.replaceChildren(this.current.node);
    this.current.refresh(1);
    if (before && focus) this.refocus(before, focus);
    else if (!before && photos.length > 1 && !state) this.current.surface.focus({ preventScroll: true });
    if (!before) this.root.scrollIntoView?.({ block: "nearest" });
    this.save();
  }

  /** Keep what has the focus when the photo is another one. */
  refocus(before, focus) {
    const path = [];
    for (let node = focus; node && node !== before.node; node = node.parentElement) path.unshift([...node.parentElement?.children ?? []].indexOf(node));
    let node = this.current.node;
    for (const i of path) node = node?.children[i];
    node?.focus?.({ preventScroll: true });
  }

  /** Strength and method stay what the reader made them; the classes are the photo's. */
  carry(one) {
    const { gamma, method } = this.carried;
    if (gamma !== undefined) one.question.gamma = gamma;
    const i = one.kept.answers.findIndex((answer) => answer.method === method);
    if (i >= 0) one.method = i;
  }

  save() {
    clearTimeout(this.saving);
    this.saving = setTimeout(() => (this.listened ? this.tell() : writeHash(this)), 200);
  }

  /** Let Python know what is asked and which region is marked, in fractions of the photo. */
  tell() {
    const one = this.current;
    this.model.set("state", one && { photo: one.index, method: one.answer.method, ...one.question });
    this.model.set("region", one?.region ? fractions(one.region, one.kept.size) : null);
    this.model.save_changes();
  }
}

/** anywidget's entry: show `model.get("data")` in an element. The element's `view` is there for its host. */
function render({ model, el }) {
  const view = new View(model, el);
  el.view = view;
  return () => view.close();
}

export default { render };
