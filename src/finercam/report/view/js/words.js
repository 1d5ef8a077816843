// Names, sentences and numbers as they are read: what contrast/labels.py and texts.py do.

/** Return text as one line that turns no other text round: what has no form of its own is shown as an escape. */
export function printable(text) {
  return String(text).replace(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, (c) =>
    c === "\n" ? "\\n" : c === "\t" ? "\\t" : c === "\r" ? "\\r" : c.codePointAt(0) < 256 ? `\\x${c.charCodeAt(0).toString(16).padStart(2, "0")}` : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

export function fullName(name) {
  const whole = name.includes("(") ? name : name.split(",")[0];
  return whole.replace(/^\d+\./, "").replaceAll("_", " ").trim().replace(/\s+/g, " ");
}

/** Return a name fit for a picture: the common name where `Genus species (Common Name)` has one. */
export function shortName(name) {
  const inside = /^.*?\(([^()]+)\)\s*$/.exec(name);
  return printable(fullName(inside ? inside[1] : name)) || printable(name) || "(no name)";
}

export function twice(names) {
  const [seen, found] = [new Set(), new Set()];
  for (const name of names) (seen.has(name) ? found : seen).add(name);
  return found;
}

/** Return text without case, accents and punctuation, for searching. */
export function folded(text) {
  return text
    .normalize("NFKD")
    .replace(/[\u0300-\u036f]|['’‘ʼ´`]/g, "")
    .replace(/[^\p{L}\p{N}\p{M}]+/gu, " ")
    .trim()
    .toLowerCase();
}

/** Return the parts of the question's sentence, as Contrast.sentence says it: [{text, name}, ...]. */
export function sentence(question, nameOf) {
  const said = 5;
  const names = (classes) => {
    const found = classes.slice(0, said).flatMap((c, i) => [...(i ? [{ text: ", " }] : []), { text: nameOf(c), name: true }]);
    if (classes.length > said) found.push({ text: `, and ${classes.length - said} more` });
    return found;
  };
  const [target, others] = [names([question.target]), names(question.references)];
  const [looked, against] = question.reverse ? [others, target] : [target, others];
  looked.forEach((part) => part.name && (part.asked = true));
  const reverse = question.reverse ? ", reversed" : "";
  if (question.gamma === 0) return [...looked, { text: `, alone${reverse}` }];
  const details = [`gamma ${question.gamma}`];
  if (question.weighting !== "mean") details.push(`${question.weighting} weighting`);
  if (question.aggregate !== "mean") details.push(`${question.aggregate} of the references`);
  return [...looked, { text: ", against " }, ...against, { text: `${reverse}, ${details.join(", ")}` }];
}

/** Keep a number beside its word. */
export const together = (text) => text.replace("gamma ", "gamma\u00a0");

export const number = (v, digits = 3) => {
  if (!Number.isFinite(v)) return "?";
  const text = Math.abs(v) >= 1e5 || (v !== 0 && Math.abs(v) < 1e-3) ? v.toExponential(1) : String(Number(v.toPrecision(digits)));
  return text.replace("-", "−");
};

export const signed = (v) => (v > 0 ? "+" : "") + (Math.abs(v) >= 0.05 || v === 0 ? v.toFixed(1).replace("-", "−") : number(v, 1));

export const percent = (p) => {
  if (!Number.isFinite(p)) return "?";
  const v = 100 * p;
  return `${v >= 1 || v === 0 ? v.toFixed(0) : number(v, 1)}\u00a0%`;
};
