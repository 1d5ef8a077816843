// What is asked, as rows of coefficients over the classes: what contrast/contrast.py does.

/** Return the weight of each reference, as Contrast does. `logits` are those of the references. */
function sharesOf(logits, weighting) {
  if (weighting === "mean") return logits.map(() => 1 / logits.length);
  const values = logits.map((y) => y ?? -Infinity);
  const top = Math.max(...values);
  const powers = values.map((y) => Math.exp(y - top));
  const sum = powers.reduce((a, b) => a + b, 0);
  const q = powers.map((p) => p / sum);
  if (weighting === "softmax") return q;
  const finite = values.map((y) => (Number.isFinite(y) ? y : 0));
  const mean = q.reduce((total, share, t) => total + share * finite[t], 0);
  return q.map((share, t) => share * (1 + finite[t] - mean));
}

/**
 * Return the rows of coefficients of a question: [{weights: [[class, coefficient], ...], share}, ...], one, or one per
 * reference where maps are combined later.
 */
export function rows(question, kept) {
  const { target, references, gamma, reverse } = question;
  const weighting = question.weighting ?? "mean";
  const aggregate = question.aggregate ?? "mean";
  const logits = references.map((c) => kept.logits[kept.classes.indexOf(c)]);
  const share = sharesOf(logits, weighting);
  const row = (against) =>
    reverse
      ? [...against, [target, -gamma]]
      : [[target, 1], ...(gamma === 0 ? [] : against.map(([c, s]) => [c, -gamma * s]))];
  if (aggregate === "mean" || (gamma === 0 && !reverse))
    return [{ weights: row(references.map((c, t) => [c, share[t]])), share: 1 }];
  return references.map((c, t) => ({ weights: row([[c, 1]]), share: share[t] }));
}

/** Return the signed map of rows: their maps mixed, and then combined. `map(c)` is the map of a class. */
export function mix(asked, aggregate, map, size) {
  const each = asked.map(({ weights }) => {
    const found = new Float64Array(size);
    for (const [c, weight] of weights) {
      const one = map(c);
      for (let j = 0; j < size; j++) found[j] += weight * one[j];
    }
    return found;
  });
  if (each.length === 1 && aggregate !== "mean-after-relu") return each[0];
  const found = new Float64Array(size).fill(aggregate === "max" ? -Infinity : 0);
  each.forEach((one, r) => {
    for (let j = 0; j < size; j++)
      if (aggregate === "max") found[j] = Math.max(found[j], one[j]);
      else found[j] += asked[r].share * (aggregate === "mean-after-relu" ? Math.max(one[j], 0) : one[j]);
  });
  return found;
}

export const sameClasses = (one, other) => one.length === other.length && one.every((c) => other.includes(c));

export const sameQuestion = (one, other) =>
  sameClasses(one.references, other.references) &&
  ["gamma", "reverse"].every((name) => one[name] === other[name]) &&
  ["weighting", "aggregate"].every((name) => (one[name] ?? "mean") === (other[name] ?? "mean"));
