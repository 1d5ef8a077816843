// The evidence that came with the page: its tables of maps are base64 text, deflated.

/** Return the bytes of base64 text. */
export function bytesOf(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

async function inflated(bytes) {
  if (typeof DecompressionStream === "undefined")
    throw new Error("this browser is too old to read the maps; use one from 2023 or later");
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** Return the maps of a table: {shape: [n, h, w], map(i) -> Float32Array(h * w)}. */
async function decodeTable(table) {
  const [n, h, w] = table.shape;
  const size = h * w;
  const packed = await inflated(bytesOf(table.values));
  if (packed.byteLength !== 2 * n * size) throw new Error("the maps in this page are damaged");
  const values = new Int16Array(packed.buffer);
  const mean = table.mean ? new Float32Array(bytesOf(table.mean).buffer) : new Float32Array(size);
  const map = (i) => {
    const found = new Float32Array(size);
    for (let j = 0; j < size; j++) found[j] = mean[j] + values[i * size + j] * table.scale[i];
    return found;
  };
  return { shape: [n, h, w], map };
}

/** Return kept evidence with its maps unpacked. */
export async function unpacked(kept) {
  const answers = await Promise.all(
    kept.answers.map(async (answer) =>
      answer.kind === "strengths"
        ? { ...answer, decoded: await Promise.all(answer.tables.map((one) => decodeTable(one.maps))) }
        : { ...answer, table: await decodeTable(answer.maps) },
    ),
  );
  const { shares: given } = kept;
  const shared = given && answers[given.maps.answer];
  const shares = given && { ...given, classes: given.classes ?? kept.classes, table: shared ? shared.table : await decodeTable(given.maps) };
  const image = new Image();
  image.src = kept.picture;
  await image.decode();
  return { ...kept, answers, shares, image };
}
