// Line charts as SVG, drawn to the width at hand. Text enters the page through textContent only.

const SVG = "http://www.w3.org/2000/svg";

function element(parent, name, attributes = {}, text = null) {
  const made = parent instanceof SVGElement || name === "svg"
    ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  parent.append(made);
  return made;
}

// A number for people: 4 significant digits at most, no exponent in the usual range, a true minus sign.
function shown(value, digits = 3) {
  if (value === null || !Number.isFinite(value)) return "–";
  return Number(value.toPrecision(digits)).toString().replace("-", "−");
}

// Size and name of the largest of a kind's units that `value` fills.
function unitOf(kind, value) {
  return kind.units.find(([size]) => value >= size) || kind.units.at(-1);
}

function ticks(low, high, wanted) {
  const raw = (high - low) / wanted, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const out = [];
  for (let i = Math.ceil(low / step); i * step <= high + step * 1e-9; i++) out.push(Number((i * step).toPrecision(12)));
  return out;
}

// Colours, shapes and dashes in the order of `report/plots/palette.py`, so that page and plots show a method alike.
const COLOURS = 8, DASHES = ["", "7 4", "2 4", "7 3 2 3", "8 2 2 2 2 2"];
const SHAPES = [
  (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0`,
  (x, y, r) => `M${x - r},${y - r}h${2 * r}v${2 * r}h${-2 * r}z`,
  (x, y, r) => `M${x},${y - 1.4 * r}L${x + 1.4 * r},${y}L${x},${y + 1.4 * r}L${x - 1.4 * r},${y}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}L${x + 1.2 * r},${y + r}H${x - 1.2 * r}z`,
  (x, y, r) => `M${x},${y + 1.2 * r}L${x + 1.2 * r},${y - r}H${x - 1.2 * r}z`,
  (x, y, r) => `M${x + 1.2 * r},${y}L${x - r},${y - 1.2 * r}V${y + 1.2 * r}z`,
  (x, y, r) => `M${x},${y - 1.2 * r}l${1.14 * r},${0.83 * r}l${-0.44 * r},${1.34 * r}h${-1.4 * r}l${-0.44 * r},${-1.34 * r}z`,
  (x, y, r) => `M${x - 1.2 * r},${y}L${x + r},${y - 1.2 * r}V${y + 1.2 * r}z`,
];

// How line number `look` of the palette appears; grey when negative.
function appearance(look) {
  if (look < 0) return { class: "grey", dash: ["4 4", "1 4", "10 3 2 3"][(-look - 1) % 3], shape: null };
  const cycle = Math.floor(look / COLOURS);
  return {
    class: `m${look % COLOURS}`,
    dash: DASHES[cycle % DASHES.length],
    shape: SHAPES[(look + cycle) % SHAPES.length],
  };
}

function marker(parent, look, x, y, r = 3.2) {
  const { class: colour, shape } = appearance(look);
  if (shape) element(parent, "path", { d: shape(x, y, r), class: `dot ${colour}`, stroke: "currentColor" });
}

function swatch(parent, look) {
  const svg = element(parent, "svg", { viewBox: "0 0 30 12", "aria-hidden": "true" });
  const { class: colour, dash } = appearance(look);
  element(svg, "path", { d: "M0,6H30", class: `line ${colour}`, "stroke-dasharray": dash });
  marker(svg, look, 15, 6);
}

// Axes over the data's range. Returns the two maps from data to pixels.
function axes(svg, { x: [x0, x1], y: [y0, y1], xLabel, yLabel, height = 0, yTicks = 5, yText = shown }) {
  const width = Math.max(svg.clientWidth || 640, 260);
  const tall = height || Math.min(Math.max(width * 0.5, 240), 420);
  const [left, right, top, bottom] = [58, 14, 12, 44];
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${width} ${tall}`);
  const px = (v) => left + ((v - x0) / (x1 - x0)) * (width - left - right);
  const py = (v) => tall - bottom - ((v - y0) / (y1 - y0)) * (tall - top - bottom);
  for (const tick of Array.isArray(yTicks) ? yTicks : ticks(y0, y1, yTicks)) {
    element(svg, "line", { x1: left, x2: width - right, y1: py(tick), y2: py(tick), class: "grid" });
    element(svg, "text", { x: left - 6, y: py(tick) + 4, "text-anchor": "end" }, yText(tick));
  }
  for (const tick of ticks(x0, x1, width < 480 ? 4 : 8)) {
    element(svg, "text", { x: px(tick), y: tall - bottom + 16, "text-anchor": "middle" }, shown(tick, 6));
  }
  element(svg, "line", { x1: left, x2: width - right, y1: tall - bottom, y2: tall - bottom, class: "grid" });
  element(svg, "text", { x: (left + width - right) / 2, y: tall - 8, "text-anchor": "middle", class: "label" }, xLabel);
  const turn = `translate(13 ${(top + tall - bottom) / 2}) rotate(-90)`;
  element(svg, "text", { transform: turn, "text-anchor": "middle", class: "label" }, yLabel);
  return [px, py, { left, right: width - right, top, bottom: tall - bottom }];
}

function range(values, pad = 0.04) {
  const finite = values.filter(Number.isFinite);
  let [low, high] = [Math.min(...finite), Math.max(...finite)];
  if (!finite.length) [low, high] = [0, 1];
  if (high - low < 1e-9) [low, high] = [low - 1, high + 1];
  return [low - pad * (high - low), high + pad * (high - low)];
}

const path = (xs, ys) => xs.map((x, i) => `${i ? "L" : "M"}${x.toFixed(1)},${ys[i].toFixed(1)}`).join("");

// Lines {x, y, low, high, look, every} and single points {x, y, shape, label} over common axes.
function lineChart(svg, lines, points, options) {
  const everything = [...lines, ...points.map((p) => ({ x: [p.x], y: [p.y] }))];
  const [px, py, box] = axes(svg, {
    x: range(everything.flatMap((l) => l.x), 0.02),
    y: range(everything.flatMap((l) => [...l.y, ...(l.low || []), ...(l.high || [])])),
    ...options,
  });
  for (const { x, low, high, look } of lines.filter((line) => line.low)) {
    const d = path([...x, ...x.toReversed()].map(px), [...high, ...low.toReversed()].map(py));
    element(svg, "path", { d: `${d}z`, class: `band ${appearance(look).class}` });
  }
  for (const { x, y, look, every } of lines) {
    const { class: colour, dash } = appearance(look);
    element(svg, "path", { d: path(x.map(px), y.map(py)), class: `line ${colour}`, "stroke-dasharray": dash });
    if (every) x.forEach((v, i) => i % every || marker(svg, look, px(v), py(y[i])));
  }
  for (const { x, y, label, anchor } of points) { // the text away from the curves: they rise to the right
    element(svg, "circle", { cx: px(x), cy: py(y), r: 6.5, class: "alone" });
    const place = { x: px(x), y: py(y) + (anchor === "end" ? -14 : 22), "text-anchor": anchor };
    element(svg, "text", { ...place, class: "label" }, label);
  }
  return [px, py, box];
}

function option(select, value, text = value) {
  element(select, "option", { value }, text);
}

// Buttons that show and hide lines; `changed` is called after each press. Returns the set of hidden names.
function legend(parent, entries, changed) {
  const hidden = new Set();
  for (const { name, label, look } of entries) {
    const button = element(parent, "button", { type: "button", "aria-pressed": "true" });
    swatch(button, look);
    element(button, "span", {}, label || name);
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      changed();
    });
  }
  return hidden;
}

// Draws now and whenever the width of the chart has changed.
function redrawn(svg, draw) {
  let width = 0;
  new ResizeObserver(() => {
    if (svg.clientWidth && svg.clientWidth !== width) { width = svg.clientWidth; draw(); }
  }).observe(svg);
}
