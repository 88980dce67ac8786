// Roving tabindex: a list of elements with a single tab stop; arrow keys move between the elements.

export class Roving {
  /** container; items(): its elements, in order; back, forward: the keys */
  constructor(container, items, back, forward) {
    this.items = items;
    this.current = null;
    container.addEventListener("keydown", (event) => this.press(event, back, forward));
    container.addEventListener("focusin", (event) => {
      const item = this.items().find((each) => each.contains(event.target));
      if (item) this.stop(item);
    });
  }

  /** Makes sure that an element is the tab stop, also after the last one was removed. */
  refresh(preferred = null) {
    if (this.current?.isConnected && !preferred) return;
    const item = preferred ?? this.items()[0];
    if (item) this.stop(item);
  }

  stop(item) {
    if (this.current && this.current !== item) this.current.tabIndex = -1;
    this.current = item;
    item.tabIndex = 0;
  }

  press(event, back, forward) {
    const items = this.items();
    const at = items.indexOf(this.current);
    const to = { [back]: at - 1, [forward]: at + 1, Home: 0, End: items.length - 1 }[event.key];
    if (to === undefined || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    const item = items[Math.max(0, Math.min(items.length - 1, to))];
    if (item) {
      this.stop(item);
      item.focus();
    }
  }
}
