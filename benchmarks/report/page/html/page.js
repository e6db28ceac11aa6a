// The page: the theme, sortable tables, and the charts of each run.

function theme() {
  const button = document.querySelector(".theme"), system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => button.setAttribute("aria-pressed", String(dark()));
  button.addEventListener("click", () => { document.documentElement.dataset.theme = dark() ? "light" : "dark"; show(); });
  system.addEventListener("change", show);
  button.hidden = false;
  show();
}

// What a cell is sorted by: its leading number, else its text; what says nothing comes last in either direction.
function sortKey(cell) {
  const text = cell.textContent.trim(), number = Number.parseFloat(text.replace("−", "-"));
  return text === "" || text === "–" ? null : Number.isNaN(number) ? text : number;
}

function compare(a, b, direction) {
  if (a === null || b === null) return (a === null) - (b === null);
  const numbers = typeof a === "number" && typeof b === "number";
  return direction * (numbers ? a - b : String(a).localeCompare(String(b), "en"));
}

function sortable(table) {
  const headers = [...table.tHead.rows[0].cells], body = table.tBodies[0], initial = [...body.rows];
  if (initial.length < 2) return;
  headers.forEach((header, column) => {
    const button = element(header, "button", { type: "button" }, header.textContent);
    header.replaceChildren(button);
    header.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      // Descending, ascending, as printed.
      const next = { none: "descending", descending: "ascending", ascending: "none" }[header.getAttribute("aria-sort")];
      headers.forEach((other) => other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", next);
      const direction = next === "ascending" ? 1 : -1;
      const rows = next === "none" ? initial
        : [...initial].sort((a, b) => compare(sortKey(a.cells[column]), sortKey(b.cells[column]), direction));
      body.append(...rows);
    });
  });
}

// Both models alone, as points.
function alone(scope, base, kind, size) {
  const x = kind ? scope.large[kind.name] / size : 100;
  const large = { x, y: 100 * scope.large.quality, label: "large alone", anchor: "end" };
  if (!base) return [large];
  const small = { x: kind ? base[kind.name][0] / size : 0, y: 100 * base.quality[0], label: `small alone (${base.name})`, anchor: "start" };
  return [large, small];
}

function overview(root, data) {
  const part = root.querySelector(".overview"), [scopes, axis, what] = [".scope", ".axis", ".show"].map((s) => part.querySelector(s));
  if (!data.scopes.length) return;
  part.hidden = false;
  data.scopes.forEach((scope, i) => option(scopes, i, scope.label));
  option(axis, "", "queries deferred (%)");
  data.kinds.forEach((kind, i) => option(axis, i, kind.label));
  option(what, "", "quality × 100");
  if (data.methods.length > 1) option(what, "delta", `quality × 100 minus ${data.baseline}`);
  const svg = part.querySelector(".chart");
  const names = [...new Set(data.scopes.flatMap((scope) => scope.lines.map((line) => line.name)))];
  const hidden = legend(part.querySelector(".legend"), names.map((name) => ({ name, look: data.looks[name] })), () => draw());

  function draw() {
    const scope = data.scopes[scopes.value], delta = what.value === "delta";
    axis.disabled = delta; // a difference is one at the same share deferred, not at the same cost
    const kind = delta || axis.value === "" ? null : data.kinds[axis.value];
    const [size, unit] = kind ? unitOf(kind, scope.large[kind.name]) : [1, ""];
    const rates = scope.lines[0].quality.map((_, i, all) => (100 * i) / (all.length - 1));
    const cost = (line) => line[kind.name].map((c) => c / size);
    const percent = (values) => values && values.map((v) => 100 * v);
    const zero = (line) => (delta && line.name === data.baseline ? { quality: rates.map(() => 0) } : null);
    const ys = (line) => zero(line) || (delta ? line.delta : line);
    const lines = scope.lines.filter((line) => !hidden.has(line.name) && ys(line)).map((line) => ({
      x: kind ? cost(line) : rates, y: percent(ys(line).quality), low: percent(ys(line).low), high: percent(ys(line).high),
      look: data.looks[line.name], every: data.looks[line.name] < 0 ? 0 : (rates.length - 1) / 5,
    }));
    const base = scope.lines.find((line) => line.name === data.baseline);
    const points = delta ? [] : alone(scope, base, kind, size);
    const xLabel = kind ? `${kind.label}${unit && `, ${unit}`}` : "queries deferred (%)";
    lineChart(svg, lines, points, { xLabel, yLabel: what.selectedOptions[0].textContent, ...(kind ? {} : { x: [-2, 102] }) });
    svg.setAttribute("aria-label", `Quality of cascades over ${scope.label}, against ${xLabel}; the numbers are in the tables`);
    part.querySelector(".note").textContent = (delta ? "Differences at the same share deferred, from paired resamples. " : "") + scope.note;
  }

  for (const select of [scopes, axis, what]) select.addEventListener("change", draw);
  redrawn(svg, draw);
}

function training(root, data) {
  if (!data.training.length) return;
  const part = root.querySelector(".training"), svg = part.querySelector(".chart");
  part.hidden = false;
  const entries = data.training.map(({ name }) => ({ name, look: data.looks[name] }));
  const hidden = legend(part.querySelector(".legend"), entries, () => draw());
  function draw() {
    const lines = data.training.filter(({ name }) => !hidden.has(name)).map(({ name, step, live }) => ({
      x: step, y: live.map((v) => 100 * v), look: data.looks[name], every: Math.ceil(step.length / 5),
    }));
    lineChart(svg, lines, [], { xLabel: "step", yLabel: "live target tokens (%)" });
    svg.setAttribute("aria-label", "Share of live target tokens by step of training");
  }
  redrawn(svg, draw);
}

theme();
document.querySelectorAll("table").forEach(sortable);
for (const run of document.querySelectorAll("section.run")) {
  const data = JSON.parse(run.querySelector(".data").textContent);
  overview(run, data);
  new Explorer(run, data);
  training(run, data);
}
