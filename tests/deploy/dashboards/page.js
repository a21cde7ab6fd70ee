// SPDX-License-Identifier: Apache-2.0
//
// Draws a dashboard from its JSON and from what Prometheus answered, as far as it matters for a
// look at the data: places, units, thresholds, legends, stacking. Not Grafana, but near.
// `page` holds {dashboard, variables, panels: [{panel, answers}]}.
"use strict";

const UNIT_PX = 58, ROW_PX = 30, GAP_PX = 8;
const COLORS = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9",
  "#705da0", "#37872d", "#fade2a", "#447ebc", "#c15c17", "#890f02", "#0a437c", "#6d1f62"];
const NAMED = { green: "#73bf69", yellow: "#fade2a", orange: "#ff9830", red: "#f2495c",
  blue: "#5794f2" };

const round = (value, digits = 3) => {
  if (value === 0) return "0";
  const text = Math.abs(value) >= 100 ? value.toFixed(0) : value.toPrecision(digits);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
};
const seconds = (value) => {
  const size = Math.abs(value);
  if (size === 0) return "0 s";
  if (size < 1e-3) return `${round(value * 1e6)} µs`;
  if (size < 1) return `${round(value * 1e3)} ms`;
  if (size < 60) return `${round(value)} s`;
  if (size < 3600) return `${round(value / 60)} min`;
  return size < 172800 ? `${round(value / 3600)} h` : `${round(value / 86400)} d`;
};
const UNITS = { s: seconds, ops: (v) => `${round(v)} ops/s`, reqps: (v) => `${round(v)} req/s`,
  percentunit: (v) => `${round(v * 100)}%`, short: (v) => round(v) };
const show = (value, unit) => (value === undefined || Number.isNaN(value) ? "No data"
  : UNITS[unit](value));

const stepColor = (steps, value) =>
  NAMED[steps.filter((s) => s.value === null || value >= s.value).at(-1).color];
const points = (series) => series.values.map(([t, v]) => [t, Number(v)]);
const finite = (value) => (Number.isFinite(value) ? value : null);

function legendOf(answer, series, panel) {
  if (answer.legend === "__auto") {
    return Object.entries(series.metric).map(([k, v]) => `${k}="${v}"`).join(", ") || panel.title;
  }
  return answer.legend.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, key) => series.metric[key] ?? "");
}

function element(parent, tag, className = "", text = "") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  parent.append(made);
  return made;
}

function drawStat(box, panel, answers, width, height) {
  const { unit, thresholds } = panel.fieldConfig.defaults;
  const series = answers[0].result[0];
  const all = series ? points(series).filter(([, v]) => !Number.isNaN(v)) : [];
  const value = all.at(-1)?.[1];
  const color = value === undefined ? "#888" : stepColor(thresholds.steps, value);
  element(box, "div", "value", show(value, unit)).style.color = color;
  if (all.length < 2) return;
  const [low, high] = [Math.min(0, ...all.map((p) => p[1])), Math.max(...all.map((p) => p[1]))];
  const tall = height * 0.35;
  const x = (t) => ((t - all[0][0]) / (all.at(-1)[0] - all[0][0])) * width;
  const y = (v) => tall - ((v - low) / (high - low || 1)) * (tall - 4);
  const path = all.map(([t, v]) => `${x(t).toFixed(1)},${y(v).toFixed(1)}`).join(" ");
  const spark = element(box, "div", "spark");
  spark.innerHTML = `<svg width="${width}" height="${tall}" style="display:block">
    <polygon points="0,${tall} ${path} ${width},${tall}" fill="${color}" fill-opacity=".18"/>
    <polyline points="${path}" fill="none" stroke="${color}"/></svg>`;
}

const axis = (unit, size) => ({ stroke: "#9a9aa8", grid: { stroke: "#2b2e34", width: 1 }, size,
  ticks: { show: false }, font: "11px DejaVu Sans",
  values: (_, ticks) => ticks.map((t) => show(t, unit)) });
const timeAxis = { stroke: "#9a9aa8", grid: { stroke: "#2b2e34", width: 1 }, ticks: { show: false },
  font: "11px DejaVu Sans", size: 24, space: 90,
  values: (_, ticks) => ticks.map((t) => new Date(t * 1000).toLocaleTimeString("en-GB")) };

function drawThresholds(plot, steps) {
  for (const step of steps.filter((s) => s.value !== null)) {
    const y = plot.valToPos(step.value, "y", true);
    if (y < plot.bbox.top || y > plot.bbox.top + plot.bbox.height) continue;
    plot.ctx.save();
    plot.ctx.strokeStyle = NAMED[step.color];
    plot.ctx.setLineDash([8, 6]);
    plot.ctx.beginPath();
    plot.ctx.moveTo(plot.bbox.left, y);
    plot.ctx.lineTo(plot.bbox.left + plot.bbox.width, y);
    plot.ctx.stroke();
    plot.ctx.restore();
  }
}

function drawLines(box, panel, answers, width, height) {
  const { unit, thresholds, custom, max } = panel.fieldConfig.defaults;
  const list = answers.flatMap((a) => a.result.map((series) => ({
    name: legendOf(a, series, panel), at: new Map(points(series)) })));
  const times = [...new Set(list.flatMap((s) => [...s.at.keys()]))].sort((a, b) => a - b);
  const stacked = custom.stacking.mode === "normal";
  const sums = times.map(() => 0);
  const rows = list.map((s) => times.map((t, i) => {
    const value = finite(s.at.get(t));
    if (!stacked) return value;
    sums[i] += value ?? 0;
    return sums[i];
  }));
  const order = stacked ? [...list.keys()].reverse() : [...list.keys()];
  const fill = stacked ? "b0" : "18";
  new uPlot({
    width, height: height - 60, legend: { show: false }, cursor: { show: false },
    scales: { y: { range: (_, low, high) => [Math.min(0, low ?? 0), (max ?? high * 1.08) || 1] } },
    axes: [timeAxis, axis(unit, 68)],
    series: [{}, ...order.map((i) => ({ stroke: COLORS[i % COLORS.length], width: 1,
      fill: COLORS[i % COLORS.length] + fill, points: { show: false } }))],
    hooks: { draw: [(plot) => custom.thresholdsStyle.mode === "dashed"
      && drawThresholds(plot, thresholds.steps)] },
  }, [times, ...order.map((i) => rows[i])], element(box, "div"));
  const legend = element(box, "div", "legend");
  list.forEach((s, i) => {
    const entry = element(legend, "span");
    element(entry, "i").style.background = COLORS[i % COLORS.length];
    entry.append(s.name);
  });
}

// From dark violet over green to yellow, as Grafana's Spectral reversed on black.
const heatColor = (share) => `hsl(${250 - 200 * share} 75% ${22 + 38 * share}%)`;

function drawHeat(box, panel, answers, width, height) {
  const rows = answers[0].result.map((s) => ({ le: Number(s.metric.le.replace("+Inf", "Infinity")),
    at: new Map(points(s)) })).sort((a, b) => a.le - b.le);
  const times = [...rows[0].at.keys()].sort((a, b) => a - b);
  const cells = rows.map((row, i) => times.map((t) =>
    Math.max(0, (row.at.get(t) || 0) - (i ? rows[i - 1].at.get(t) || 0 : 0))));
  const most = Math.max(...cells.flat(), 1e-9);
  const canvas = element(box, "canvas");
  canvas.width = width;
  canvas.height = height - 32;
  const ctx = canvas.getContext("2d");
  const [left, bottom] = [68, 24];
  const [w, h] = [(width - left - 10) / times.length, (canvas.height - bottom) / rows.length];
  ctx.font = "11px DejaVu Sans";
  rows.forEach((row, i) => {
    const y = canvas.height - bottom - (i + 1) * h;
    ctx.fillStyle = "#9a9aa8";
    ctx.textAlign = "right";
    if (i % 2 === 0 || row.le === Infinity) {
      ctx.fillText(row.le === Infinity ? "+Inf" : show(row.le, "s"), left - 8, y + h / 2 + 4);
    }
    times.forEach((_, k) => {
      if (cells[i][k] <= 1e-9) return;
      ctx.fillStyle = heatColor((cells[i][k] / most) ** 0.5);
      ctx.fillRect(left + k * w, y + 1, Math.max(w - 1, 1), h - 1);
    });
  });
  ctx.fillStyle = "#9a9aa8";
  ctx.textAlign = "center";
  for (let k = Math.floor(times.length / 8); k < times.length; k += Math.ceil(times.length / 4)) {
    ctx.fillText(new Date(times[k] * 1000).toLocaleTimeString("en-GB"), left + k * w,
      canvas.height - 8);
  }
}

function drawTable(box, panel, answers) {
  const organize = panel.transformations.find((t) => t.id === "organize").options;
  const headings = Object.entries(organize.indexByName).sort((a, b) => a[1] - b[1])
    .map(([name]) => organize.renameByName[name] ?? name);
  const labels = headings.slice(0, headings.length - answers.length);
  const rows = new Map();
  answers.forEach((answer, i) => answer.result.forEach((series) => {
    const key = labels.map((l) => series.metric[l]).join("\u0000");
    if (!rows.has(key)) rows.set(key, { metric: series.metric, values: [] });
    rows.get(key).values[i] = Number(series.value[1]);
  }));
  const table = element(box, "table");
  const head = element(table, "tr");
  headings.forEach((h, i) => element(head, "th", i < labels.length ? "label" : "", h));
  const settings = (heading) => Object.fromEntries((panel.fieldConfig.overrides
    .find((o) => o.matcher.options === heading)?.properties ?? []).map((p) => [p.id, p.value]));
  for (const row of rows.values()) {
    const line = element(table, "tr");
    labels.forEach((l) => element(line, "td", "label", row.metric[l]));
    answers.forEach((_, i) => {
      const [value, set] = [row.values[i], settings(headings[labels.length + i])];
      if (value === undefined) return element(line, "td");  // not in this column's answer
      const cell = element(line, "td", "", show(value, set.unit ?? "short"));
      if (set.thresholds) cell.style.color = stepColor(set.thresholds.steps, value);
    });
  }
}

const DRAW = { stat: drawStat, timeseries: drawLines, heatmap: drawHeat, table: drawTable };

element(document.body, "h1", "", page.dashboard.title);
const variables = element(document.body, "div", "variables");
for (const [label, value] of page.variables) {
  variables.append(`${label} `);
  element(variables, "b", "", value);
  variables.append("   ");
}
const grid = element(document.body, "div");
grid.id = "grid";
for (const { panel, answers } of page.panels) {
  const { x, y, w, h } = panel.gridPos;
  const [width, height] = [w * UNIT_PX - GAP_PX, h * ROW_PX - GAP_PX];
  const box = element(grid, "div", "panel");
  Object.assign(box.style, { left: `${x * UNIT_PX + GAP_PX}px`, top: `${y * ROW_PX}px`,
    width: `${width}px`, height: `${height}px` });
  element(box, "h2", "", panel.title);
  DRAW[panel.type](box, panel, answers, width - 2, height);
}
document.title = "drawn";
