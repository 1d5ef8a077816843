// One photo: what is asked about it, what is found, and when it is drawn again. Other modules take it as `photo`.

import { answered } from "./answers.js";
import { bytesOf } from "./data.js";
import { blending, LARGEST, Layer } from "./drawing.js";
import { build } from "./layout.js";
import { axesOf, toPhoto } from "./maps.js";
import { cover, regionMask, speaks } from "./regions.js";
import { sync } from "./sync.js";
import { number, percent, printable, sentence } from "./words.js";

const FRAME = 12;

export class PhotoView {
  constructor(view, index, light, kept) {
    Object.assign(this, { view, index, light, kept });
    const { asked } = kept;
    const { weighting = "mean", aggregate = "mean", target, references, gamma, reverse } = asked;
    this.asked = { target, references: [...references], gamma, reverse, weighting, aggregate };
    this.question = { ...this.asked };
    this.method = asked.answer ?? 0;
    this.region = null;
    this.axes = axesOf(kept.placement, kept.image_size, kept.size);
    this.levels = blending(bytesOf(view.data.colours));
    this.layers = new Map();
    this.cost = 0;
    build(this);
  }

  close() {
    this.observer.disconnect();
    clearTimeout(this.settling);
    this.closed = true;
  }

  get answer() {
    return this.kept.answers[this.method];
  }

  // ------------------------------------------------------------ words

  name(c) {
    return this.view.className(c);
  }

  strength(c) {
    const i = this.kept.classes.indexOf(c);
    if (i < 0) return "";
    return this.view.data.model.similarity && this.kept.similarities ? number(this.kept.similarities[i]) : percent(this.kept.probabilities[i]);
  }

  sentence() {
    const { objective } = this.kept.asked;
    if (objective) return [{ text: "for " }, { text: this.name(this.question.target), name: true, asked: true }, { text: `, ${printable(objective)}` }];
    return sentence(this.question, (c) => this.name(c));
  }

  said() {
    return this.sentence()
      .map((part) => part.text)
      .join("");
  }

  options() {
    this.optionsOf ??= this.kept.classes
      .map((c, i) => ({ ...this.view.classOption(c), note: this.strength(c), order: this.kept.logits[i] ?? -Infinity }))
      .sort((a, b) => b.order - a.order);
    return this.optionsOf;
  }

  // ------------------------------------------------------------ what can change

  /** Ask something else; options that do not go together give way to the one just chosen. */
  ask(changes) {
    const q = { ...this.question, ...changes };
    if (changes.aggregate === "max") q.weighting = "mean";
    if (changes.weighting === "official") [q.aggregate, q.reverse] = ["mean", false];
    if (changes.weighting === "softmax" && q.aggregate === "max") q.aggregate = "mean";
    if ((changes.reverse || (changes.aggregate && changes.aggregate !== "mean")) && q.weighting === "official") q.weighting = "mean";
    if ("gamma" in changes) this.view.carried.gamma = q.gamma;
    this.question = q;
    this.changed();
  }

  look(changes) {
    Object.assign(this.view.display, changes);
    this.changed();
  }

  reset() {
    this.question = { ...this.asked, references: [...this.asked.references] };
    this.method = this.kept.asked.answer ?? 0;
    this.view.carried = {};
    this.setRegion(null);
  }

  setRegion(region) {
    this.region = region;
    this.spoken = null;
    this.changed();
  }

  changed() {
    this.schedule();
    this.view.save();
  }

  schedule() {
    if (this.pending || this.closed) return;
    this.pending = requestAnimationFrame(() => {
      this.pending = 0;
      // As coarse as it takes to keep up with a hand; what it settles on is drawn in full.
      this.refresh(this.cost > 9 * FRAME ? 4 : this.cost > 4 * FRAME ? 3 : this.cost > FRAME ? 2 : 1);
      if (this.coarse === 1) return;
      clearTimeout(this.settling);
      this.settling = setTimeout(() => !this.closed && this.refresh(1), 120);
    });
  }

  // ------------------------------------------------------------ what is seen

  compute() {
    // What was not kept by class was asked in one way of putting references together.
    const { weighting, aggregate } = this.asked;
    if (this.answer.kind !== "classes") Object.assign(this.question, { weighting, aggregate });
    const key = JSON.stringify([this.method, this.question]);
    if (this.found?.key !== key) this.found = { key, ...answered(this.kept, this.answer, this.question) };
    return this.found;
  }

  /** Return what the region says of each kept class; null without a region or shares. */
  speaks() {
    const { region, kept } = this;
    if (!region || !kept.shares) return null;
    if (!this.spoken) {
      const mask = regionMask(region, this.axes);
      const pixels = mask.reduce((a, b) => a + b, 0);
      this.spoken = { pixels, share: pixels / mask.length, region: speaks(kept.shares, cover(mask, kept.image_size, kept.shares.cells)) };
    }
    return this.spoken;
  }

  layer(width) {
    const [w, h] = this.kept.size;
    const size = [Math.max(1, Math.round(width)), Math.max(1, Math.round((width * h) / w))];
    const known = this.layers.get(size[0]);
    if (known) return known;
    if (this.layers.size > 3) this.layers.clear();
    const layer = new Layer(this.kept.image, axesOf(this.kept.placement, this.kept.image_size, size), this.levels);
    this.layers.set(size[0], layer);
    return layer;
  }

  /** Return the picture as it is shown, at a width. */
  picture(width) {
    const layer = this.layer(width);
    const { finer, plain } = this.compute();
    const { show, scale, wipe } = this.view.display;
    const common = Math.max(finer.peak ?? 0, plain.peak ?? 0);
    const heat = (one) => one.saliency && { heat: toPhoto(one.saliency, this.kept.image_size, layer.plan), top: scale === "common" ? common : one.peak };
    const column = show === "plain" ? Infinity : show === "finer" ? 0 : Math.round(wipe * layer.plan.width);
    return layer.paint(show === "finer" ? null : heat(plain), show === "plain" ? null : heat(finer), column);
  }

  refresh(coarse) {
    const started = performance.now();
    const wanted = Math.min(LARGEST, Math.max(64, Math.round(this.stage.clientWidth * (window.devicePixelRatio || 1))));
    const painted = this.picture(wanted / coarse);
    if (this.canvas.width !== wanted) {
      this.canvas.width = wanted;
      this.canvas.height = Math.max(1, Math.round((wanted * this.kept.size[1]) / this.kept.size[0]));
    }
    this.canvas.getContext("2d").drawImage(painted, 0, 0, this.canvas.width, this.canvas.height);
    sync(this);
    this.took = performance.now() - started;
    if (coarse === 1) this.cost = this.warm ? this.took : 0;
    this.warm = true;
    this.coarse = coarse;
  }

  // ------------------------------------------------------------ places

  /** Return a point of the picture for a pointer. */
  point(event) {
    const place = this.surface.getBoundingClientRect();
    const [w, h] = this.kept.size;
    const within = (p, most) => Math.min(most, Math.max(0, p * most));
    return [within((event.clientX - place.left) / place.width, w), within((event.clientY - place.top) / place.height, h)];
  }

  get radius() {
    const { x, y } = this.axes;
    // Never so small that it falls between the middles of the input's pixels.
    return Math.max(0.045 * Math.min(...this.kept.size), 0.75 / Math.min(Math.abs(x.scale), Math.abs(y.scale)));
  }
}
