// Tables that can be sorted by any column. A row element is kept as long as its item exists.

import { element, mark, write } from "./elements.js";
import { Roving } from "./roving.js";
import { UNKNOWN } from "./words.js";

const words = new Intl.Collator(undefined, { numeric: true });

export class DataTable {
  /**
   * table: an empty <table> inside a .scroll element
   * options:
   *   columns   [{key, label, kind, text(item), level(item), hint(item), value(item), make(cell), update(parts, item), isFixed}]
   *             kind: "number", "name" or another class; value: what to sort by (default: the item's field named key);
   *             make and update: for cells that contain more than a text; isFixed: not sortable
   *   key(item) identifies the row of an item
   *   choose(item)   called when a row is chosen; without it, rows cannot be chosen
   *   isChosen(item)
   *   sort      {key, sign}; null: in the order of the items
   *   sorter    a <select>, for layouts without room for headings
   *   changed() called when the user changes the sorting
   *   tie(left, right)   compares items that are equal in the sort column
   */
  constructor(table, options) {
    Object.assign(this, { choose: null, isChosen: () => false, sort: null, sorter: null, tie: () => 0 }, options);
    this.table = table;
    this.rows = new Map();
    mark(table, "role", this.choose ? "grid" : "table");
    const head = element("thead", "", table);
    this.body = element("tbody", "", table);
    for (const part of [head, this.body]) mark(part, "role", "rowgroup");
    this.headings = this.makeHeadings(element("tr", "", head));
    this.scroller = table.closest(".scroll");
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.refresh(this.sight())));
    this.stops = this.choose && new Roving(this.body, () => [...this.body.rows], "ArrowUp", "ArrowDown");
    this.markSort();
  }

  makeHeadings(row) {
    mark(row, "role", "row");
    const headings = new Map();
    for (const column of this.columns) {
      const heading = element("th", `${column.kind ?? ""} ${column.key}`, row);
      heading.scope = "col";
      mark(heading, "role", "columnheader");
      headings.set(column.key, heading);
      if (column.isFixed) {
        heading.textContent = column.label;
        continue;
      }
      const button = element("button", "", heading);
      button.textContent = column.label;
      button.dataset.sort = column.key;
      button.tabIndex = -1;
      button.addEventListener("click", () => this.sortBy(column));
      if (this.sorter) this.sorter.append(new Option(column.label, column.key));
    }
    this.sorter?.addEventListener("change", () => {
      const column = this.columns.find((each) => each.key === this.sorter.value);
      this.sort = column ? { key: column.key, sign: firstSign(column) } : null;
      this.markSort();
      this.changed();
    });
    new Roving(row, () => [...row.querySelectorAll("button")], "ArrowLeft", "ArrowRight").refresh();
    return headings;
  }

  /** Sorts by a column; the second time in reverse; the third time in the items' own order, if they have one. */
  sortBy(column) {
    const first = firstSign(column);
    if (this.sort?.key !== column.key) this.sort = { key: column.key, sign: first };
    else if (this.sort.sign === first || !this.sorter?.querySelector("option[value='']")) {
      this.sort = { key: column.key, sign: -this.sort.sign };
    } else this.sort = null;
    this.markSort();
    this.changed();
  }

  markSort() {
    for (const [key, heading] of this.headings) {
      if (this.sort?.key !== key) heading.removeAttribute("aria-sort");
      else heading.setAttribute("aria-sort", this.sort.sign < 0 ? "descending" : "ascending");
    }
    if (this.sorter) this.sorter.value = this.sort?.key ?? "";
  }

  /** The items in the chosen order. */
  sorted(items) {
    if (!this.sort) return items;
    const { key, sign } = this.sort;
    const column = this.columns.find((each) => each.key === key);
    const value = column.value ?? ((item) => item[key]);
    const compare = (left, right) => {
      const [a, b] = [value(left) ?? null, value(right) ?? null];
      if (a === null || b === null) return (a === null) - (b === null); // last in both directions
      return sign * (typeof a === "string" ? words.compare(a, b) : a - b);
    };
    return [...items].sort((left, right) => compare(left, right) || this.tie(left, right));
  }

  /** Which items are visible, or nearly. */
  sight() {
    const height = this.body.rows[0]?.offsetHeight || 25;
    const first = Math.floor(this.scroller.scrollTop / height);
    return [first - 20, first + Math.ceil(this.scroller.clientHeight / height) + 20];
  }

  show(items) {
    const sight = this.sight();
    const focused = this.body.contains(document.activeElement) ? document.activeElement : null;
    const kept = new Map();
    let after = null;
    for (const item of items) {
      const id = this.key(item);
      let row = this.rows.get(id);
      if (!row) {
        row = this.makeRow(item);
        this.update(row);
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
    this.stops?.refresh();
    // Moving a row removes its focus.
    if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  }

  refresh([first, last]) {
    let index = 0;
    for (const row of this.rows.values()) {
      if (index >= first && index <= last) this.update(row);
      index += 1;
    }
  }

  makeRow(item) {
    const row = { element: element("tr"), item };
    mark(row.element, "role", "row");
    row.cells = this.columns.map((column) => {
      const cell = element("td", `${column.kind ?? ""} ${column.key}`, row.element);
      mark(cell, "role", this.choose ? "gridcell" : "cell");
      cell.dataset.key = column.key;
      cell.dataset.label = column.label;
      return { cell, parts: column.make?.(cell) };
    });
    if (this.choose) {
      row.element.className = "choice";
      row.element.tabIndex = -1;
      row.element.addEventListener("click", () => this.choose(row.item));
      row.element.addEventListener("keydown", (event) => {
        if (event.key !== "Enter" && event.key !== " ") return;
        event.preventDefault();
        this.choose(row.item);
      });
    }
    return row;
  }

  update({ element: row, item, cells }) {
    this.columns.forEach((column, index) => {
      const { cell, parts } = cells[index];
      if (column.update) column.update(parts, item);
      else {
        const text = column.text(item);
        const level = text === UNKNOWN ? "zero" : column.level?.(item) ?? (text === "0" ? "zero" : "");
        write(cell, text, `${column.kind ?? ""} ${column.key} ${level}`.trim());
      }
      const hint = column.hint?.(item) ?? "";
      if (cell.title !== hint) cell.title = hint;
    });
    if (this.choose) {
      const isChosen = this.isChosen(item);
      if (isChosen && row.getAttribute("aria-selected") !== "true" && !this.body.contains(document.activeElement)) {
        this.stops.refresh(row);
      }
      mark(row, "aria-selected", isChosen);
    }
  }
}

/** Names are sorted from A, figures from the largest. */
const firstSign = (column) => (column.kind === "number" ? -1 : 1);

/** A column of names with badges. */
export function names(key, label, text, tags, tagger) {
  return {
    key, label, kind: "name", value: text, hint: text,
    make: (cell) => ({ text: element("span", "", cell), tags: element("span", "tags", cell) }),
    update: (parts, item) => {
      write(parts.text, text(item));
      tagger(parts.tags, tags(item));
    },
  };
}
