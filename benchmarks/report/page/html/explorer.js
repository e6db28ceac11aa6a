// One task, one method, one rule: the exact sweep over every distinct threshold, as `cat_keras.curves` has it.

const EACH_SIDE = 4; // example predictions shown on either side of the threshold

// Little-endian float32, base64.
function floats(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float64Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
}

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

// Points from never deferring to always deferring; equal scores are deferred together. A threshold is halfway between
// two scores that occur, as in `cat_keras.evaluation.grid.midpoints`.
function sweep(score, small, large) {
  const n = score.length, order = [...score.keys()].sort((a, b) => score[a] - score[b] || a - b);
  const points = [{ deferred: 0, quality: mean(small.quality), cost: mean(small.cost), threshold: -Infinity }];
  let { quality, cost } = points[0];
  order.forEach((i, position) => {
    quality += (large.quality[i] - small.quality[i]) / n;
    cost += large.cost[i] / n;
    const next = order[position + 1];
    if (next === undefined || score[next] !== score[i]) {
      const threshold = next === undefined ? Infinity : score[i] / 2 + score[next] / 2;
      points.push({ deferred: position + 1, quality, cost, threshold });
    }
  });
  return { order, points, n };
}

function audc({ points, n }) {
  return points.slice(1).reduce((sum, p, i) => sum + ((p.deferred - points[i].deferred) / n) * (p.quality + points[i].quality) / 2, 0);
}

class Explorer {
  constructor(root, data) {
    this.root = root.querySelector(".explorer");
    this.data = data;
    this.find = (name) => this.root.querySelector(`.${name}`);
    if (!data.explorer.length) return;
    this.root.hidden = false;
    data.explorer.forEach((task, i) => option(this.find("task"), i, task.name));
    data.kinds.forEach((kind, i) => option(this.find("kind"), i, kind.label));
    this.find("task").addEventListener("change", () => this.fillMethods());
    this.find("method").addEventListener("change", () => this.fillRules());
    for (const name of ["rule", "kind"]) this.find(name).addEventListener("change", () => this.choose());
    this.find("threshold").addEventListener("input", () => this.show());
    this.find("curve").addEventListener("pointerdown", (event) => this.drag(event));
    this.find("curve").addEventListener("pointermove", (event) => event.buttons && this.drag(event));
    this.rate = 0.25;
    this.fillMethods();
    redrawn(this.find("curve"), () => this.show());
  }

  // Fills a select, keeping what was chosen where it still exists.
  fill(name, values, preferred) {
    const select = this.find(name), before = select.value || preferred;
    select.replaceChildren();
    values.forEach((value) => option(select, value));
    if (values.includes(before)) select.value = before;
  }

  fillMethods() {
    this.task = this.data.explorer[this.find("task").value];
    this.fill("method", this.data.methods.filter((name) => name in this.task.methods));
    this.fillRules();
  }

  fillRules() {
    this.cell = this.task.methods[this.find("method").value];
    this.fill("rule", [...this.data.rules.filter((rule) => rule in this.cell.scores), "oracle"], this.data.rule);
    this.choose();
  }

  // The curve of what is chosen; the slider keeps its deferral rate.
  choose() {
    const kind = this.data.kinds[this.find("kind").value].name, rule = this.find("rule").value;
    const side = (of) => ({ quality: floats(of.quality), cost: floats(of[kind]) });
    [this.small, this.large] = [side(this.cell), side(this.task.large)];
    this.score = rule === "oracle" ? this.small.quality.map((q, i) => q - this.large.quality[i]) : floats(this.cell.scores[rule]);
    this.curve = sweep(this.score, this.small, this.large);
    this.moveTo(this.rate);
  }

  moveTo(rate) {
    const distances = this.curve.points.map((p) => Math.abs(p.deferred / this.curve.n - rate));
    const slider = this.find("threshold");
    slider.max = this.curve.points.length - 1;
    slider.value = distances.indexOf(Math.min(...distances));
    this.show(false);
  }

  drag(event) {
    const box = this.find("curve").getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * this.find("curve").viewBox.baseVal.width;
    this.rate = Math.min(Math.max(this.inverse(x), 0), 1);
    this.moveTo(this.rate);
  }

  show(moved = true) {
    this.point = this.curve.points[this.find("threshold").value];
    if (moved) this.rate = this.point.deferred / this.curve.n;
    this.drawCurve();
    this.drawHistogram();
    this.writeReadout();
    this.writeExamples();
  }

  drawCurve() {
    const { points, n } = this.curve, look = this.data.looks[this.find("method").value] ?? 0;
    const x = points.map((p) => (100 * p.deferred) / n), y = points.map((p) => 100 * p.quality);
    const ends = { x: [0, 100], y: [y[0], y.at(-1)], look: -1 };
    const svg = this.find("curve");
    const [px, py, box] = lineChart(svg, [ends, { x, y, look }], [], {
      x: [0, 100], xLabel: "queries deferred (%)", yLabel: "quality × 100", height: 260,
    });
    this.inverse = (pixel) => (pixel - box.left) / (box.right - box.left);
    const [cx, cy] = [px((100 * this.point.deferred) / n), py(100 * this.point.quality)];
    element(svg, "line", { x1: cx, x2: cx, y1: box.top, y2: box.bottom, class: "cursor" });
    element(svg, "circle", { cx, cy, r: 5.5, class: `dot ${appearance(look).class}` });
    svg.setAttribute("aria-label", `Quality by share of queries deferred, ${this.task.name}, ${this.find("method").value}`);
  }

  // Scores of right answers upwards, of wrong ones downwards.
  drawHistogram() {
    const svg = this.find("histogram"), bins = 30;
    const sorted = this.score.filter((s) => s > -1e30).sort();
    const low = sorted[Math.floor(sorted.length / 100)], high = sorted.at(-1);
    svg.toggleAttribute("hidden", !(high > low));
    if (!(high > low)) return;
    const counts = [new Array(bins).fill(0), new Array(bins).fill(0)];
    const bin = (s) => Math.max(0, Math.min(bins - 1, Math.floor(((s - low) / (high - low)) * bins)));
    this.score.forEach((s, i) => counts[this.small.quality[i] > this.task.bar ? 0 : 1][bin(s)]++);
    const [up, down] = counts.map((c) => Math.max(...c, 1)), root = (v) => Math.sign(v) * Math.sqrt(Math.abs(v));
    const [px, py, box] = axes(svg, {
      x: [low, high], y: [-1.15 * root(down), 1.15 * root(up)], height: 190,
      yTicks: [-down, 0, up].map(root), yText: (v) => shown(v * v),
      xLabel: `score by ${this.find("rule").value}; the first bar holds all below`, yLabel: "wrong · right (root scale)",
    });
    counts.forEach((row, wrong) => row.forEach((count, i) => {
      const [x0, x1] = [i, i + 1].map((k) => px(low + (k / bins) * (high - low)));
      const [y0, y1] = [py(0), py(root(wrong ? -count : count))];
      element(svg, "rect", { x: x0 + 0.5, width: x1 - x0 - 1, y: Math.min(y0, y1), height: Math.abs(y1 - y0), class: `dot ${wrong ? "wrong" : "right"}` });
    }));
    const x = px(Math.max(low, Math.min(high, this.point.threshold)));
    element(svg, "line", { x1: x, x2: x, y1: box.top, y2: box.bottom, class: "cursor" });
    svg.setAttribute("aria-label", "Scores of right answers above the axis, of wrong ones below");
  }

  writeReadout() {
    const { points, n } = this.curve, { deferred, quality, cost, threshold } = this.point;
    const kind = this.data.kinds[this.find("kind").value], whole = mean(this.large.cost);
    const [size, unit] = unitOf(kind, whole);
    const defers = deferred === 0 ? "never" : deferred === n ? "always" : `score < ${shown(threshold, 4)}`;
    const lines = {
      Defer: defers,
      Deferred: `${shown((100 * deferred) / n)} % (${deferred} of ${n})`,
      "Quality × 100": shown(100 * quality, 4),
      "Small alone": shown(100 * points[0].quality, 4),
      "Large alone": shown(100 * points.at(-1).quality, 4),
      Cost: `${shown(cost / size, 4)} ${unit}`,
      "Of large alone": whole > 0 ? `${shown((100 * cost) / whole)} %` : "–",
      "AUDC × 100": shown(100 * audc(this.curve), 4),
    };
    const list = this.find("readout");
    list.replaceChildren();
    for (const [name, value] of Object.entries(lines)) {
      const row = element(list, "div");
      element(row, "dt", {}, name);
      element(row, "dd", {}, value);
    }
    const text = `${lines.Deferred} deferred, quality ${lines["Quality × 100"]}`;
    this.find("threshold").setAttribute("aria-valuetext", text);
    this.find("note").textContent = this.task.note + ` ${this.data.member} ${this.cell.seed}. Dashed: deferral at random.`;
  }

  // The sampled examples that lie nearest to the threshold on either side of it.
  writeExamples() {
    const rank = new Map(this.curve.order.map((example, position) => [example, position]));
    const known = this.task.examples.map((example) => [rank.get(example.at), example]).sort((a, b) => a[0] - b[0]);
    const cut = this.point.deferred;
    const deferred = known.filter(([r]) => r < cut), kept = known.filter(([r]) => r >= cut);
    this.find("kept-title").textContent = `Kept: the small model answers (${this.curve.n - cut})`;
    this.find("deferred-title").textContent = `Deferred: the large model answers (${cut})`;
    this.cards("kept", kept.slice(0, EACH_SIDE), false);
    this.cards("deferred", deferred.slice(-EACH_SIDE).reverse(), true);
  }

  cards(name, examples, deferred) {
    const list = this.find(name);
    list.replaceChildren();
    if (!examples.length) element(list, "p", { class: "note" }, "None of the sampled examples is on this side.");
    for (const [, example] of examples) this.card(list, example, deferred);
  }

  card(list, example, deferred) {
    const card = element(list, "div", { class: "card" }), i = example.at;
    const group = example.group ? ` · ${example.group}` : "";
    const score = this.score[i] > -1e30 ? shown(this.score[i], 4) : "no answer";
    element(card, "p", { class: "who" }, `${example.id}${group} · score ${score}`);
    if (example.prompt) element(card, "p", { class: "prompt" }, example.prompt);
    const answer = (who, text, quality, given) => {
      const line = element(card, "p", { class: given ? "given" : "" });
      const grade = quality === 1 ? "✓" : quality === 0 ? "✗" : shown(100 * quality, 3);
      element(line, "span", { class: "who" }, `${who} ${grade} `);
      element(line, "span", {}, text ?? "");
    };
    answer("small", example.answers?.[this.find("method").value], this.small.quality[i], !deferred);
    answer("large", example.large, this.large.quality[i], deferred);
    if (example.target) {
      const line = element(card, "p");
      element(line, "span", { class: "who" }, "reference ");
      element(line, "span", {}, example.target);
    }
  }
}
