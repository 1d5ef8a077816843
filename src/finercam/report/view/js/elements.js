// The elements that the page is made of.

const SVG = "http://www.w3.org/2000/svg";

export function furnish(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled" || name === "hidden") node[name] = value;
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

export const make = (tag, attributes, ...children) => furnish(document.createElement(tag), attributes, children);
export const draw = (tag, attributes, ...children) => furnish(document.createElementNS(SVG, tag), attributes, children);

/** A name, kept from turning the text around it. */
export const named = (text, attributes) => make("bdi", attributes, text);

let lastId = 0;
export const newId = (what) => `fc-${what}-${++lastId}`;

/** One of a few choices: radio buttons that look like one control. `choices` are [value, label]. */
export function segmented(label, choices, onpick) {
  const name = newId("choice");
  const inputs = new Map();
  const node = make(
    "fieldset",
    { class: "fc-segmented" },
    make("legend", {}, label),
    make(
      "div",
      {},
      choices.map(([value, text]) => {
        const input = make("input", { type: "radio", name, value, onchange: () => onpick(value) });
        inputs.set(value, input);
        return make("label", {}, input, make("span", {}, text));
      }),
    ),
  );
  return { node, set: (value) => inputs.get(value) && (inputs.get(value).checked = true) };
}

export function picker(label, choices, onpick) {
  const select = make("select", { onchange: () => onpick(select.value) }, choices.map(([value, text]) => make("option", { value }, text)));
  const node = make("label", { class: "fc-field" }, make("span", {}, label), select);
  return { node, select, set: (value) => (select.value = value) };
}
