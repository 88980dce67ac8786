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

/** A table whose rows are kept for as long as what they show is there. Those out of sight are brought up to date when they
    are scrolled to. */
export class Table {
  constructor(table, make, update) {
    this.body = table.tBodies[0];
    this.make = make;
    this.update = update;
    this.rows = new Map();
    this.scroller = table.closest(".scroll");
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.refresh(this.sight())));
  }

  /** Which items are in sight, or nearly. */
  sight() {
    const height = this.body.rows[0]?.offsetHeight || 25;
    const first = Math.floor(this.scroller.scrollTop / height);
    return [first - 20, first + Math.ceil(this.scroller.clientHeight / height) + 20];
  }

  show(items, key) {
    const sight = this.sight();
    const kept = new Map();
    let after = null;
    for (const item of items) {
      const id = key(item);
      let row = this.rows.get(id);
      if (!row) {
        row = this.make(item);
        this.update(row, item);
      }
      row.item = item;
      kept.set(id, row);
      const place = after ? after.nextSibling : this.body.firstChild;
      if (place !== row.element) this.body.insertBefore(row.element, place);
      after = row.element;
    }
    for (const [id, row] of this.rows) if (!kept.has(id)) row.element.remove();
    this.rows = kept;
    this.refresh(sight);
  }

  refresh([first, last]) {
    let index = 0;
    for (const row of this.rows.values()) {
      if (index >= first && index <= last) this.update(row, row.item);
      index += 1;
    }
  }
}

export function cells(row, classNames) {
  return classNames.map((name) => element("td", name, row));
}

/** A row that can be chosen, by the pointer or the keyboard. */
export function choice(choose) {
  const row = element("tr", "choice");
  row.tabIndex = 0;
  row.addEventListener("click", choose);
  row.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    choose();
  });
  return row;
}
