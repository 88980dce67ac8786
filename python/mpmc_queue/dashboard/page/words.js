// Numbers as text.

const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const tenths = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
/** Shown for a figure that is not known. */
export const UNKNOWN = "-";
const known = (words) => (value) => (value === null || value === undefined ? UNKNOWN : words(value));
export const count = known((value) => whole.format(value));
export const rate = known((value) => `${value >= 10 ? whole.format(value) : tenths.format(value)}/s`);
export const bytes = known((value) => {
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (value < 1024 || unit === "GiB") return `${value >= 100 ? whole.format(value) : tenths.format(value)} ${unit}`;
    value /= 1024;
  }
});
bytes.base = 1024;
export const seconds = known((value) => {
  if (value === 0) return "0 s";
  if (value < 1) return `${Math.max(1, Math.round(value * 1000))} ms`;
  if (value < 60) return `${value < 10 ? tenths.format(value) : whole.format(value)} s`;
  if (value < 3600) return `${Math.floor(value / 60)} min ${Math.floor(value % 60)} s`;
  if (value < 86400) return `${Math.floor(value / 3600)} h ${Math.floor((value % 3600) / 60)} min`;
  return `${count(value / 86400)} d`;
});
/** The name of a reader, or a placeholder. */
export const called = (reader) => reader.name ?? `unnamed ${reader.id.slice(0, 8)}`;
/** For figures that do not always apply: empty if there is no value. */
export const or = (value, words) => (value === null || value === undefined ? "" : words(value));
