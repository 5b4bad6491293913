// Small helpers that change the document by key, so that the focus stays where it is. All texts are set as text.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element with attributes and children (elements or texts). */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") element.addEventListener("click", value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** Make an icon of the sprite in index.html. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#icon-${name}`);
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}

/** Set an element's text, if it is another one: an unchanged text is not announced or painted again. */
export function say(element, text) {
  const wanted = text ?? "";
  if (element.textContent !== wanted) element.textContent = wanted;
}

/** Set or remove an attribute, if it is another one. */
export function mark(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, value);
}

/**
 * Make the children of a list those of `items`, in their order. `key` names an item, `create` makes its element once,
 * and `update` brings an element up to date. Elements that stay are not made again, and the focus is not lost.
 */
export function list(parent, items, key, create, update) {
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let place = parent.firstElementChild;
  for (const item of items) {
    const name = String(key(item));
    let element = known.get(name);
    known.delete(name);
    if (!element) {
      element = create(item);
      element.dataset.key = name;
    }
    if (element === place) place = place.nextElementSibling;
    else parent.insertBefore(element, place);
    update(element, item);
  }
  for (const gone of known.values()) gone.remove();
  restore(focused, parent);
}

/** Give the focus back to an element that was moved; if it is gone, to the nearest place that may take it. */
function restore(focused, parent) {
  // The body has the focus when it was lost; a nested list may have given it to another place meanwhile.
  if (!focused || document.activeElement !== document.body) return;
  if (focused.isConnected) focused.focus({ preventScroll: true });
  else parent.closest("section")?.querySelector("h2")?.focus({ preventScroll: true });
}
