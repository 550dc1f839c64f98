/* Numbers, sizes, times and dates as the reader's language writes them. */
import { lang, NONE, t, withMinus } from "./words.js";

const known = (n) => n !== null && n !== undefined && Number.isFinite(Number(n));

export const int = (n) => (known(n) ? withMinus(Math.round(n).toLocaleString(lang)) : NONE);

export const num = (n, digits = 2) => {
  if (!known(n)) return NONE;
  const shown = Math.abs(n) < 0.5 * 10 ** -digits ? 0 : n; // not "-0.00"
  return withMinus(shown.toLocaleString(lang, { minimumFractionDigits: digits, maximumFractionDigits: digits }));
};

/** A figure that is written out and its unit, on one line. @param {string} figure @param {string} unit */
export const inUnits = (figure, unit) => `${figure}\u00a0${unit}`;

const sizeIn = (n, digits) => {
  if (!known(n)) return NONE;
  if (n >= 1e9) return inUnits(num(n / 1e9, digits), "GB");
  if (n >= 1e6) return inUnits(int(n / 1e6), "MB");
  return n >= 1e3 ? inUnits(int(n / 1e3), "kB") : inUnits(int(n), "B");
};

/** A share from 0 to 1 in per cent; one above 0 never as "0 %", which says that there is none. */
export const percent = (share, digits = 0) => {
  if (!known(share)) return inUnits(NONE, "%");
  const least = 10 ** -digits;
  return inUnits(share > 0 && share * 100 < least / 2 ? `<${num(least, digits)}` : num(share * 100, digits), "%");
};

/** A length of time; over ten minutes without seconds, which nobody could know. */
export const duration = (seconds) => {
  if (!known(seconds)) return NONE;
  const s = Math.round(seconds);
  const whole = (word) => word.replace(/ /g, "\u00a0"); // also between minutes and seconds
  if (s < 60) return whole(t("seconds", { n: s }));
  if (s < 600) return whole(t("minutes", { m: Math.floor(s / 60), s: s % 60 }));
  const minutes = Math.round(s / 60);
  if (minutes < 60) return whole(t("only_minutes", { m: minutes }));
  return whole(t("hours", { h: Math.floor(minutes / 60), m: minutes % 60 }));
};

/** How long something is said to take: {seconds_low, seconds_high, rough}, as the server tells it. */
export const timeRange = ({ seconds_low: low, seconds_high: high, rough }) =>
  t(rough ? "data_n_rough_range" : "data_n_about_range", { low: duration(low), high: duration(high) });

/** @param {number | string} time as of `when`; to the second */
const moment = (time) =>
  new Date(typeof time === "number" ? time * 1000 : time).toLocaleString(lang, {
    dateStyle: "medium",
    timeStyle: "medium",
  });

/** The names of what is shown together, each with the time at which it was made where two have the same.
   @param {{name: string, created: number}[]} items */
export const distinctNames = (items) =>
  items.map((one) =>
    items.some((each) => each !== one && each.name === one.name) ? `${one.name} · ${moment(one.created)}` : one.name,
  );

/** When a data set was added, to the second, where another one would be called the same; else "".
   @param {any} set @param {any[]} sets */
export const setTime = (set, sets) =>
  sets.some((each) => each !== set && ["name", "version", "kept"].every((key) => each[key] === set[key]))
    ? moment(set.created)
    : "";

/** Data sets as a menu's options: [id, title] with the version from the second on, as versions share a name, how many
   records are kept, and where that is the same of two, when it was added.
   @param {{dataset_id: string, name: string, version: number, kept: number, created: string}[]} sets
   @returns {[string, string][]} */
export const setTitles = (sets) =>
  sets.map((set) => {
    const version = set.version > 1 ? `v${set.version}` : "";
    return [set.dataset_id, [set.name, version, int(set.kept), setTime(set, sets)].filter(Boolean).join(" · ")];
  });

/** Bytes in the unit that suits them. */
export const bytes = (n) => sizeIn(n, 2);

/** Bytes that are foretold, to a tenth of a GB: more is not known before a run. */
export const bytesForetold = (n) => sizeIn(n, 1);

/** The first letters of a text; "" for one that is not there.
   @param {string | null | undefined} text @param {number} n */
export const clip = (text, n) => (text && text.length > n ? `${text.slice(0, n)}…` : (text ?? ""));

/** @param {number | string | null | undefined} time seconds since 1970, or an ISO date */
export const when = (time) => {
  const date = new Date(typeof time === "number" ? time * 1000 : (time ?? NaN));
  return Number.isNaN(date.getTime()) ? NONE : date.toLocaleString(lang, { dateStyle: "medium", timeStyle: "short" });
};
