// Small line charts on a canvas: the last five minutes, one to three lines, values at the pointer in the legend.

import { element, mark, write } from "./elements.js";

const SPAN = 300;
const MARGIN = { left: 56, right: 8, top: 8, bottom: 18 };

export class Chart {
  /** canvas; lines: [{label, value(point)}], at most three; format(value); limit(): a value to draw a line at, or null;
      limitLabel: what it is called */
  constructor(canvas, lines, format, limit = () => null, limitLabel = "") {
    this.canvas = canvas;
    this.limitLabel = limitLabel;
    this.title = canvas.closest("figure").querySelector(".figure-title").textContent;
    mark(canvas, "role", "img");
    this.lines = lines;
    this.format = format;
    this.limit = limit;
    this.points = [];
    this.pointer = null;
    this.legend = canvas.parentElement.querySelector(".legend");
    this.entries = lines.map(() => element("span", "line", this.legend));
    this.limitEntry = element("span", "limit", this.legend);
    canvas.addEventListener("pointermove", (event) => { this.pointer = event.offsetX; this.draw(); });
    canvas.addEventListener("pointerleave", () => { this.pointer = null; this.draw(); });
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  /** points: objects with a `time` in seconds, oldest first */
  show(points) {
    this.points = points;
    this.draw();
    this.describe();
  }

  /** The same as text, for screen readers. */
  describe() {
    const parts = this.lines.map((line) => {
      const values = this.points.map(line.value).filter((value) => value !== null);
      if (!values.length) return `${line.label}: ${this.points.length ? "not known" : "nothing yet"}`;
      return `${line.label} ${this.format(line.value(this.points.at(-1)))} now, ` +
        `from ${this.format(Math.min(...values))} to ${this.format(Math.max(...values))}`;
    });
    const limit = this.limit();
    if (limit) parts.push(`${this.limitLabel} ${this.format(limit)}`);
    mark(this.canvas, "aria-label", `${this.title}, last five minutes: ${parts.join("; ")}`);
  }

  draw() {
    const { canvas, points } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width || !height) return;
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
    }
    const colour = resolve;
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.font = "11px system-ui, sans-serif";

    const end = points.length ? points[points.length - 1].time : Date.now() / 1000;
    const limit = this.limit();
    let top = limit ?? 0;
    for (const point of points) for (const line of this.lines) top = Math.max(top, line.value(point) ?? 0);
    top = ceiling(top, this.format.base);
    const x = (time) => MARGIN.left + (1 - (end - time) / SPAN) * (width - MARGIN.left - MARGIN.right);
    const y = (value) => height - MARGIN.bottom - (value / top) * (height - MARGIN.top - MARGIN.bottom);

    pen.strokeStyle = colour("--line");
    pen.fillStyle = colour("--dim");
    pen.lineWidth = 1;
    pen.textBaseline = "middle";
    pen.textAlign = "right";
    for (const share of [0, 0.5, 1]) {
      const at = Math.round(y(top * share)) + 0.5;
      stroke(pen, [[MARGIN.left, at], [width - MARGIN.right, at]]);
      pen.fillText(this.format(top * share), MARGIN.left - 6, at);
    }
    pen.textBaseline = "alphabetic";
    for (const minutes of [4, 3, 2, 1, 0]) {
      pen.textAlign = minutes ? "center" : "right";
      pen.fillText(minutes ? `−${minutes} min` : "now", x(end - minutes * 60), height - 4);
    }
    if (limit) {
      pen.setLineDash([4, 3]);
      pen.strokeStyle = colour("--bad");
      stroke(pen, [[MARGIN.left, y(limit)], [width - MARGIN.right, y(limit)]]);
      pen.setLineDash([]);
    }
    this.lines.forEach((line, index) => {
      pen.strokeStyle = pen.fillStyle = colour(`--series-${index + 1}`);
      pen.lineWidth = 1.6;
      pen.lineJoin = "round";
      for (const known of stretches(points.filter((point) => point.time >= end - SPAN), line.value)) {
        const path = known.map((point) => [x(point.time), y(line.value(point))]);
        stroke(pen, path);
        if (index === 0) fill(pen, path, y(0));
      }
    });

    let told = points[points.length - 1];
    if (this.pointer !== null && points.length) {
      told = points.reduce((best, point) =>
        Math.abs(x(point.time) - this.pointer) < Math.abs(x(best.time) - this.pointer) ? point : best);
      pen.strokeStyle = colour("--dim");
      pen.lineWidth = 1;
      stroke(pen, [[x(told.time), MARGIN.top], [x(told.time), height - MARGIN.bottom]]);
    }
    this.lines.forEach((line, index) => {
      const text = `${line.label} ${told ? this.format(line.value(told)) : ""}`;
      write(this.entries[index], text);
    });
    write(this.limitEntry, limit ? `${this.limitLabel} ${this.format(limit)}` : "");
  }
}

/** The points with known values, split into segments where values are not known. */
function stretches(points, value) {
  const found = [];
  let isOpen = false;
  for (const point of points) {
    if (value(point) === null) isOpen = false;
    else if (isOpen) found.at(-1).push(point);
    else isOpen = found.push([point]) > 0;
  }
  return found;
}

/** Fills the area below a line with a light colour. */
function fill(pen, path, ground) {
  pen.globalAlpha = 0.12;
  pen.beginPath();
  pen.moveTo(path[0][0], ground);
  for (const [px, py] of path) pen.lineTo(px, py);
  pen.lineTo(path[path.length - 1][0], ground);
  pen.fill();
  pen.globalAlpha = 1;
}

function stroke(pen, path) {
  pen.beginPath();
  path.forEach(([px, py], index) => (index ? pen.lineTo(px, py) : pen.moveTo(px, py)));
  pen.stroke();
}

// A canvas does not support light-dark(), so take the colour that the browser computes for an element.
const probe = document.createElement("i");
function resolve(name) {
  if (!probe.isConnected) {
    probe.hidden = true;
    document.body.append(probe);
  }
  probe.style.color = `var(${name})`;
  return getComputedStyle(probe).color;
}

/** The next round number: 1, 2 or 5 times a power of ten (of bytes, times a power of 1024). */
function ceiling(value, base = 10) {
  if (!(value > 0)) return 1;
  if (base === 1024) {
    const unit = 1024 ** Math.max(0, Math.floor(Math.log(value) / Math.log(1024)));
    return ceiling(value / unit) * unit;
  }
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * 0.9999);
}
