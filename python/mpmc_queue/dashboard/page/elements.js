// What the page is made of. Texts are put in as text, never as markup.

export function element(kind, className = "", parent = null) {
  const made = document.createElement(kind);
  if (className) made.className = className;
  if (parent) parent.append(made);
  return made;
}

/** Sets a text, if it is another one: most stay as they are from one second to the next. */
export function write(node, text, className) {
  if (node.textContent !== text) node.textContent = text;
  if (className !== undefined && node.className !== className) node.className = className;
}

/** The same for attributes, which cost the browser work even if they stay what they are. */
export function mark(node, name, value) {
  if (node.getAttribute(name) !== String(value)) node.setAttribute(name, value);
}

/** Little words behind a name: texts of one kind each, such as ["closed", ""] or ["missing", "bad"]. */
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
