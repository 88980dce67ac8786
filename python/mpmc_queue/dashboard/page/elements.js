// Makes and updates elements of the page. Texts are inserted as text, never as markup.

export function element(kind, className = "", parent = null) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

/** Sets a text only if it differs: most texts do not change from one second to the next. */
export function write(node, text, className) {
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

/** The same for attributes: setting one costs the browser time even if its value is the same. */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Badges after a name: each is a text and a class, such as ["closed", ""] or ["missed", "bad"]. */
export function tag(node, tags) {
  const told = tags.map(([text]) => text).join(", ");
  if (node.dataset.told === told) return;
  node.dataset.told = told;
  node.replaceChildren(...tags.map(([text, level]) => {
    const made = element("span", `tag ${level}`.trim());
    made.textContent = text;
    return made;
  }));
}
