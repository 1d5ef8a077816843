// A field in which classes are chosen by name.

import { make, named, newId } from "./elements.js";
import { folded } from "./words.js";

const MOST_OPTIONS = 50;

/**
 * Classes chosen by name: chips and a combobox (ARIA's pattern, list popup).
 *
 * `options()` are [{index, name, whole, note, fold}]; `several` keeps a list, otherwise one takes the other's place.
 * `last()` is the class that was chosen last: chips are drawn a moment later, and Backspace must not wait for them.
 */
export function chooser({ label, several, options, last, onpick, onremove, empty }) {
  const [box, list] = [newId("box"), newId("list")];
  let shown = [];
  let active = -1;
  let typed = false;
  const chips = make("span", { class: "fc-chips" });
  const popup = make("ul", { id: list, role: "listbox", class: "fc-options", "aria-label": label, hidden: true });
  const input = make("input", {
    id: box,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    dir: "auto",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": list,
    placeholder: several ? "Add a class" : "Type a name",
    oninput: () => {
      typed = true;
      open();
    },
    onclick: () => open(),
    onfocus: () => input.select(),
    onblur: () => close(),
    onkeydown: (event) => {
      const opened = !popup.hidden;
      if (event.key === "ArrowDown" || event.key === "ArrowUp") {
        if (!opened) open();
        else if (shown.length) activate((active + (event.key === "ArrowDown" ? 1 : -1) + shown.length) % shown.length);
      } else if (event.key === "Enter" && opened && active >= 0) pick(shown[active]);
      else if (event.key === "Escape" && opened) close();
      else if (event.key === "Backspace" && several && !input.value && last() !== undefined) return onremove(last());
      else return;
      event.preventDefault();
      event.stopPropagation();
    },
  });
  let current = "";
  function matching() {
    const words = typed ? folded(input.value).split(" ").filter(Boolean) : [];
    const query = words.join(" ");
    const rank = (one) => (one.fold[0].startsWith(query) ? 0 : one.fold[1].includes(` ${query}`) ? 1 : 2);
    return options()
      .filter((one) => words.every((word) => one.fold[1].includes(word)))
      .map((one) => [query ? rank(one) : 0, one])
      .sort((a, b) => a[0] - b[0])
      .map(([, one]) => one);
  }
  function open() {
    const found = matching();
    shown = found.slice(0, MOST_OPTIONS);
    popup.replaceChildren(
      ...shown.map((one, i) =>
        make(
          "li",
          { id: `${list}-${i}`, role: "option", "aria-selected": "false", onpointerdown: (event) => event.preventDefault(), onclick: () => pick(one) },
          make("span", {}, named(one.name), one.whole ? named(one.whole, { class: "fc-whole" }) : null),
          one.note ? make("span", { class: "fc-note" }, one.note) : null,
        ),
      ),
    );
    if (!shown.length) popup.append(make("li", { class: "fc-more", role: "presentation" }, "No class of that name"));
    if (found.length > shown.length) popup.append(make("li", { class: "fc-more", role: "presentation" }, `${found.length - shown.length} more: type to narrow`));
    popup.hidden = false;
    input.setAttribute("aria-expanded", "true");
    activate(typed && shown.length ? 0 : -1);
  }
  function activate(i) {
    popup.children[active]?.setAttribute("aria-selected", "false");
    active = i;
    if (i < 0) return input.removeAttribute("aria-activedescendant");
    const option = popup.children[i];
    option.setAttribute("aria-selected", "true");
    option.scrollIntoView({ block: "nearest" });
    input.setAttribute("aria-activedescendant", option.id);
  }
  function close() {
    popup.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    active = -1;
    typed = false;
    input.value = current;
  }
  function pick(one) {
    current = several ? "" : one.name;
    close();
    onpick(one.index);
  }
  const node = make(
    "div",
    { class: "fc-field fc-chooser" },
    make("label", { for: box }, label),
    make("div", { class: "fc-combo" }, several ? chips : null, input, popup),
    empty ? make("button", { type: "button", class: "fc-quiet", onclick: () => onpick(null) }, empty) : null,
  );
  return {
    node,
    input,
    /** Show what is chosen: [{index, name, note}]. */
    set(chosen) {
      if (several)
        chips.replaceChildren(
          ...chosen.map(({ index, name, note }) =>
            make(
              "span",
              { class: "fc-chip", "data-index": index },
              named(name),
              note ? make("span", { class: "fc-note" }, note) : null,
              make(
                "button",
                {
                  type: "button",
                  "aria-label": `Remove ${name}`,
                  onclick: () => {
                    onremove(index);
                    input.focus();
                  },
                },
                "×",
              ),
            ),
          ),
        );
      else {
        current = chosen[0]?.name ?? "";
        if (document.activeElement !== input || !typed) input.value = current;
      }
    },
  };
}
