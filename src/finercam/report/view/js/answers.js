// What the kept evidence answers to a question, or why it cannot.

import { saliency } from "./maps.js";
import { mix, rows, sameClasses, sameQuestion } from "./question.js";

/** Return the map at a strength between those of a table, and whether it was interpolated. */
function between(table, maps, gamma) {
  const { strengths } = table;
  const high = strengths.findIndex((s) => s >= gamma - 1e-9);
  if (high < 0 || gamma < strengths[0] - 1e-9) return null;
  if (Math.abs(strengths[high] - gamma) < 1e-9) return { map: maps.map(high), error: 0 };
  const part = (gamma - strengths[high - 1]) / (strengths[high] - strengths[high - 1]);
  const [a, b] = [maps.map(high - 1), maps.map(high)];
  return { map: a.map((v, j) => v + part * (b[j] - v)), error: table.error };
}

/**
 * Return the answer to a question: {map, error} with the signed map and the largest error of interpolating (over the
 * peak), or {cannot: why, do: what would answer it}.
 */
function signedMap(answer, question, kept) {
  const [h, w] = answer.cells;
  if (answer.kind === "fixed") {
    const { asked } = kept;
    const same = question.target === asked.target && (question.plain || asked.objective || sameQuestion(question, asked));
    if (same) return { map: answer.table.map(question.plain ? 0 : 1), error: 0 };
    return { cannot: `${answer.title} was asked one question only`, do: "put it back with Reset, or run finercam again with this one" };
  }
  const { target, references, gamma, reverse } = question;
  const alone = gamma === 0 && !reverse;
  if (!references.length && !alone) return { cannot: "there is no class to compare with", do: "add a class to compare with" };
  if (answer.kind === "strengths") {
    const i = answer.tables.findIndex(
      (one) =>
        one.target === target &&
        (alone ? !one.reverse && one.strengths.some((s) => Math.abs(s) < 1e-9) : one.reverse === reverse) &&
        (alone || sameClasses(one.references, references)),
    );
    if (i < 0) return { cannot: `${answer.title} was not asked about these classes`, do: "run finercam again with them" };
    const found = between(answer.tables[i], answer.decoded[i], gamma);
    const { strengths } = answer.tables[i];
    return (
      found ?? {
        cannot: `${answer.title} was asked at strengths from ${strengths[0]} to ${strengths.at(-1)} only`,
        do: "choose one of these, or run finercam again with this one",
      }
    );
  }
  const classes = answer.classes ?? kept.classes;
  if (![target, ...(alone ? [] : references)].every((c) => classes.includes(c)))
    return { cannot: `${answer.title} was not asked about one of these classes`, do: "run finercam again with it" };
  const map = mix(rows(question, kept), question.aggregate ?? "mean", (c) => answer.table.map(classes.indexOf(c)), h * w);
  return { map, error: 0 };
}

const PLAIN = { plain: true, references: [], gamma: 0, reverse: false, weighting: "mean", aggregate: "mean" };

/** Return what the question and its plain map look like at the input's resolution. */
export function answered(kept, answer, question) {
  const one = (asked) => {
    const found = signedMap(answer, asked, kept);
    if (found.cannot) return found;
    const heat = saliency(found.map, answer.cells, kept.image_size);
    let peak = 0;
    let at = 0;
    for (let i = 0; i < heat.length; i++) if (heat[i] > peak) [peak, at] = [heat[i], i];
    return { ...found, saliency: heat, peak, at };
  };
  return { finer: one(question), plain: one({ ...PLAIN, target: question.target }) };
}
