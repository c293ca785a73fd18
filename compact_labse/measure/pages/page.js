"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const safe = text => String(text).replace(/[&<>"']/g, mark => `&#${mark.charCodeAt(0)};`);
const at = id => document.getElementById(id);
const ruler = document.createElement("canvas").getContext("2d");
function widthOf(text) {
  ruler.font = `550 12px ${getComputedStyle(document.body).fontFamily}`;
  return ruler.measureText(text).width;
}

/* What hovering, focusing or touching shows. */
function showTip(mark) {
  const box = mark.getBoundingClientRect();
  tip.textContent = mark.dataset.tip + (mark.dataset.near ? `\nHere too: ${mark.dataset.near}` : "");
  tip.style.left = Math.max(8, Math.min(box.right + 10, innerWidth - tip.offsetWidth - 8)) + "px";
  tip.style.top = Math.max(8, box.top - tip.offsetHeight - 6) + "px";
  tip.style.opacity = 1;
}
for (const start of ["pointerover", "focusin"]) document.addEventListener(start, event => {
  const mark = event.target.closest?.("[data-tip]");
  if (mark) showTip(mark); else tip.style.opacity = 0;
});
document.addEventListener("focusout", () => { tip.style.opacity = 0; });
addEventListener("scroll", () => { tip.style.opacity = 0; }, { passive: true });

/* Trade-offs: points by two figures, the front of what nothing beats, filters. */
const plots = data.plots, hidden = { runtime: new Set(), dtype: new Set() }, scatters = [];
let paper = 0; /* the width of a plot on paper, known before the page is laid out for it; 0 on a screen */
const kinds = name => [...new Set(plots.points.map(point => point[name]))].sort();
const runtimes = kinds("runtime"), dtypes = ["fp32", ...kinds("dtype").filter(type => type !== "fp32")];
const polygon = corners => "M" + corners.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L") + "Z";
const round = (n, r, turn) => polygon([...Array(n).keys()].map(i => [r * Math.sin(turn + 2 * Math.PI * i / n), -r * Math.cos(turn + 2 * Math.PI * i / n)]));
const shapes = ["M-6.5 0a6.5 6.5 0 1 0 13 0a6.5 6.5 0 1 0 -13 0Z", round(4, 8, Math.PI / 4), round(3, 8.5, 0), round(4, 8, 0), round(3, 8.5, Math.PI), round(6, 7.5, 0)];
const shape = dtype => shapes[dtypes.indexOf(dtype) % shapes.length];
const colour = runtime => `g${runtimes.indexOf(runtime) % 6}`;
const visible = point => !hidden.runtime.has(point.runtime) && !hidden.dtype.has(point.dtype);

function figure(value, unit) {
  const size = Math.abs(value), digits = size >= 1000 ? 0 : size >= 100 ? 1 : size >= 1 ? 1 : 3;
  return value.toLocaleString("en", { minimumFractionDigits: digits === 3 ? 0 : digits, maximumFractionDigits: digits }) + (unit ? ` ${unit}` : "");
}
function front(points, x, y) {
  const sorted = [...points].sort((a, b) => (x.low ? 1 : -1) * (a.values[x.key] - b.values[x.key]) || (y.low ? 1 : -1) * (a.values[y.key] - b.values[y.key]));
  let best = Infinity;
  return sorted.filter(point => {
    const value = (y.low ? 1 : -1) * point.values[y.key];
    if (value >= best) return false;
    best = value;
    return true;
  });
}
function scale(axis, values, from, to) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  const log = axis.log && low > 0;
  const change = log ? Math.log10 : value => value;
  if (log) [low, high] = [low / 1.35, high * 1.35];
  else {
    const room = Math.max((high - low) * 0.12, Math.abs(high) * 0.004, 0.2);
    [low, high] = [Math.max(low - room, low >= 0 ? 0 : -Infinity), high + room];
  }
  const place = value => from + (to - from) * (change(value) - change(low)) / (change(high) - change(low));
  return { place, ticks: log && high / low > 5 ? logTicks(low, high) : ticks(low, high) };
}
function ticks(low, high) {
  const raw = (high - low) / 5, power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find(factor => factor * power >= raw * 0.8);
  const found = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) found.push(n * step);
  return found;
}
function logTicks(low, high) {
  for (const factors of [[1], [1, 3], [1, 2, 5], [1, 2, 3, 4, 5, 6, 8]]) {
    const found = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
      for (const factor of factors) if (factor * 10 ** power >= low && factor * 10 ** power <= high) found.push(factor * 10 ** power);
    if (found.length >= 4 || factors.length > 3) return found;
  }
}
function short(value) {
  const trim = number => String(Number(number.toPrecision(3)));
  return value >= 1e6 ? trim(value / 1e6) + "M" : value >= 1e4 ? trim(value / 1e3) + "k" : trim(value);
}
const overlap = (a, b) => Math.max(0, Math.min(a[2], b[2]) - Math.max(a[0], b[0])) * Math.max(0, Math.min(a[3], b[3]) - Math.max(a[1], b[1]));
function placeLabel(x, y, text, taken, frame) {
  const width = widthOf(text) + 2, options = [[x + 11, y], [x - 11 - width, y]];
  for (const rise of [19, 34, 50]) for (const sign of [-1, 1]) for (const left of [x - width / 2, x + 6, x - width - 6]) options.push([left, y + sign * rise]);
  let best = null;
  options.forEach(([left, middle], order) => {
    const box = [left, middle - 8, left + width, middle + 8];
    const outside = Math.max(0, frame[0] - box[0]) + Math.max(0, box[2] - frame[2]) + Math.max(0, frame[1] - box[1]) + Math.max(0, box[3] - frame[3]);
    const collision = taken.reduce((sum, other) => sum + overlap(box, other), 0) + 40 * outside;
    if (!best || collision * 50 + order < best.cost) best = { box, cost: collision * 50 + order, collision };
  });
  return best.collision < 12 ? best.box : null;
}
function scatter(box, x, y) {
  const points = plots.points.filter(point => visible(point) && x.key in point.values && y.key in point.values);
  const width = paper || Math.max(260, box.clientWidth), height = Math.round(Math.min(430, Math.max(300, width * 0.68)));
  if (!points.length) { box.innerHTML = `<p class="soft" style="padding:60px 0;text-align:center">Nothing to show: no visible artifact has both figures.</p>`; return; }
  const top = 12, bottom = height - 44;
  const vertical = scale(y, points.map(point => point.values[y.key]), bottom, top);
  const left = 30 + Math.max(...vertical.ticks.map(value => widthOf(short(value)))), right = width - 12;
  const horizontal = scale(x, points.map(point => point.values[x.key]), left, right);
  const title = axis => axis.title + (axis.unit ? `, ${axis.unit}` : "") + (axis.low ? " (less is better)" : "");
  let svg = `<svg class="chart" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" aria-label="${safe(y.title)} against ${safe(x.title)}">`;
  for (const value of vertical.ticks) {
    const place = vertical.place(value).toFixed(1);
    svg += `<line class="grid" x1="${left}" x2="${right}" y1="${place}" y2="${place}"/><text class="tick" x="${left - 7}" y="${+place + 4}" text-anchor="end">${short(value)}</text>`;
  }
  let last = -Infinity;
  for (const value of horizontal.ticks) {
    const place = horizontal.place(value), half = widthOf(short(value)) / 2;
    svg += `<line class="grid" y1="${top}" y2="${bottom}" x1="${place.toFixed(1)}" x2="${place.toFixed(1)}"/>`;
    if (place - half < last + 6) continue;
    last = place + half;
    svg += `<text class="tick" x="${place.toFixed(1)}" y="${bottom + 17}" text-anchor="middle">${short(value)}</text>`;
  }
  svg += `<text class="axis" x="${(left + right) / 2}" y="${height - 6}" text-anchor="middle">${safe(title(x))}</text>`;
  svg += `<text class="axis" transform="translate(12 ${(top + bottom) / 2}) rotate(-90)" text-anchor="middle">${safe(title(y))}</text>`;
  const where = point => [horizontal.place(point.values[x.key]), vertical.place(point.values[y.key])];
  const best = front(points, x, y);
  if (best.length > 1) svg += `<polyline class="front" points="${best.map(point => where(point).map(n => n.toFixed(1)).join(",")).join(" ")}"/>`;
  const taken = points.map(point => { const [px, py] = where(point); return [px - 8, py - 8, px + 8, py + 8]; });
  for (const point of [...best, ...points.filter(point => !best.includes(point))]) {
    const [px, py] = where(point), label = placeLabel(px, py, point.label, taken, [left, top - 6, width, bottom]);
    const axes = [...new Set([x, y, plots.axes[0]])].filter(axis => axis.key in point.values);
    const lines = axes.map(axis => `${axis.title}: ${figure(point.values[axis.key], axis.unit)}`);
    const near = points.filter(other => other !== point && Math.hypot(where(other)[0] - px, where(other)[1] - py) < 8).map(other => other.label).join(", ");
    const note = `${point.label}\n${point.runtime}, ${point.dtype}\n${lines.join("\n")}`;
    svg += `<g class="point ${colour(point.runtime)}" tabindex="0" role="img" aria-label="${safe(note)}" data-label="${safe(point.label)}" data-near="${safe(near)}" data-tip="${safe(note)}">`;
    if (label) {
      taken.push(label);
      const end = Math.min(Math.max(px, label[0] + 4), label[2] - 4), far = label[1] > py + 16 ? label[1] : label[3] < py - 16 ? label[3] : 0;
      if (far) svg += `<line class="leader" x1="${px.toFixed(1)}" y1="${py.toFixed(1)}" x2="${end.toFixed(1)}" y2="${far.toFixed(1)}"/>`;
    }
    svg += `<path class="mark" transform="translate(${px.toFixed(1)} ${py.toFixed(1)})" d="${shape(point.dtype)}"/>`;
    if (label) svg += `<text x="${(label[0] + 1).toFixed(1)}" y="${(label[1] + 12).toFixed(1)}">${safe(point.label)}</text>`;
    svg += "</g>";
  }
  box.innerHTML = svg + "</svg>";
}
function drawPlots() { for (const { box, chosen } of scatters) scatter(box, ...chosen.map(key => plots.axes.find(axis => axis.key === key))); }
function makePlots() {
  const chips = (name, values, drawn) => values.map(value => `<button type="button" class="chip-button" data-kind="${name}" data-value="${safe(value)}" aria-pressed="true"><svg viewBox="-9 -9 18 18" aria-hidden="true" class="${drawn(value)[0]}"><path fill="currentColor" d="${drawn(value)[1]}"/></svg>${safe(value)}</button>`).join("");
  at("filters").innerHTML = chips("runtime", runtimes, value => [colour(value), shapes[0]]) + `<span class="gap"></span>` + chips("dtype", dtypes.filter(type => plots.points.some(point => point.dtype === type)), value => ["g5", shape(value)]);
  for (const button of at("filters").querySelectorAll("button")) button.addEventListener("click", () => {
    const on = button.getAttribute("aria-pressed") !== "true", set = hidden[button.dataset.kind];
    button.setAttribute("aria-pressed", on);
    if (on) set.delete(button.dataset.value); else set.add(button.dataset.value);
    drawPlots();
  });
  for (const first of plots.first) {
    const plot = document.createElement("div"), chosen = [...first];
    const options = key => plots.axes.map(axis => `<option value="${safe(axis.key)}"${axis.key === key ? " selected" : ""}>${safe(axis.title)}${axis.unit ? ", " + axis.unit : ""}</option>`).join("");
    plot.className = "plot";
    plot.innerHTML = `<div class="axes screen"><label>Up <select data-axis="1">${options(chosen[1])}</select></label><label>Across <select data-axis="0">${options(chosen[0])}</select></label></div><div class="box"></div>`;
    for (const select of plot.querySelectorAll("select")) select.addEventListener("change", () => { chosen[select.dataset.axis] = select.value; drawPlots(); });
    at("scatters").append(plot);
    scatters.push({ box: plot.querySelector(".box"), chosen });
  }
}

/* Tables: a header sorts its column; what was not measured stays last. */
function sort(header) {
  const row = header.parentNode, column = [...row.children].indexOf(header), body = header.closest("table").tBodies[0];
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of row.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = line => line.children[column].dataset.value;
  const order = (a, b) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    const [x, y] = [Number(a), Number(b)];
    const difference = Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
    return up ? difference : -difference;
  };
  body.append(...[...body.rows].sort((a, b) => order(value(a), value(b))));
}
for (const header of document.querySelectorAll(".sortable th")) {
  header.addEventListener("click", () => sort(header));
  header.addEventListener("keydown", event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); sort(header); } });
}

/* Heat maps: one measure at a time. */
for (const section of document.querySelectorAll(".heat")) section.querySelector("select").addEventListener("change", event => {
  for (const cell of section.querySelectorAll("td[data-figures]")) {
    cell.textContent = cell.dataset.figures.split("|")[event.target.value];
    cell.style.setProperty("--v", cell.textContent === "" ? 0 : Math.max(0, Math.min(100, cell.textContent)));
  }
});

/* Pictures of the space: a plane and a histogram per artifact. */
const space = data.space, view = { language: "all", plane: "pca" };
function planeOf(model) {
  const points = model[view.plane], size = 300, place = value => ((value / 1000) * 0.46 + 0.5) * size;
  if (!points) return `<p class="soft">not measured</p>`;
  const codes = Object.keys(points).filter(code => code !== "en" && !code.startsWith("en ")).filter(code => view.language === "all" || code === view.language);
  let lines = "", marks = "", english = "";
  const drawn = new Set();
  for (const code of codes) points[code].forEach(([x, y], row) => {
    const partner = space.shared ? "en" : `en ${code}`, [ex, ey] = points[partner][row];
    lines += `<line class="pair" x1="${place(x).toFixed(1)}" y1="${place(-y).toFixed(1)}" x2="${place(ex).toFixed(1)}" y2="${place(-ey).toFixed(1)}"/>`;
    marks += `<circle class="other" cx="${place(x).toFixed(1)}" cy="${place(-y).toFixed(1)}" r="2.4" data-tip="${safe(code)}, sentence ${row + 1}"/>`;
    if (!drawn.has(partner + row)) english += `<circle class="english" cx="${place(ex).toFixed(1)}" cy="${place(-ey).toFixed(1)}" r="3.4" data-tip="English, sentence ${row + 1}"/>`;
    drawn.add(partner + row);
  });
  return `<svg class="chart" viewBox="0 0 ${size} ${size}" role="img" aria-label="translation pairs in a plane">${lines}${marks}${english}</svg>`;
}
function histogramOf(model) {
  const codes = view.language === "all" ? Object.keys(model.histograms) : [view.language];
  const sum = name => codes.map(code => model.histograms[code][name]).reduce((a, b) => a.map((value, i) => value + b[i]));
  const share = counts => { const total = counts.reduce((a, b) => a + b, 0) || 1; return counts.map(count => count / total); };
  const pairs = share(sum("pairs")), others = share(sum("others")), most = Math.max(...pairs, ...others);
  const wide = 300, high = 90, step = wide / pairs.length, base = high;
  const bars = (values, name) => values.map((value, i) => value ? `<rect class="${name}" x="${(i * step + 0.5).toFixed(1)}" width="${(step - 1).toFixed(1)}" y="${(base - value / most * (high - 6)).toFixed(1)}" height="${(value / most * (high - 6)).toFixed(1)}"/>` : "").join("");
  let axis = `<line class="grid" x1="0" x2="${wide}" y1="${base}" y2="${base}"/>`;
  for (const value of [0, 0.25, 0.5, 0.75, 1]) axis += `<text class="tick" x="${((value + 0.2) / 1.2 * wide).toFixed(1)}" y="${base + 14}" text-anchor="${value === 1 ? "end" : "middle"}">${value}</text>`;
  return `<svg class="chart" viewBox="0 0 ${wide} ${base + 20}" role="img" aria-label="cosines of pairs and of other sentences">${bars(others, "others")}${bars(pairs, "pairs")}${axis}</svg>`;
}
function drawSpace() {
  at("panels").innerHTML = space.models.map(model => `<div class="panel"><h3>${safe(model.label)}</h3><p class="soft">${view.plane === "pca" ? `the plane shows ${model.shown} % of the variance` : "UMAP"} · pairs above others: ${model.separated[view.language]} %</p>${planeOf(model)}${histogramOf(model)}</div>`).join("");
}
function makeSpace() {
  const codes = Object.keys(space.models[0].histograms);
  at("space-note").innerHTML = `Each line joins a sentence of ${safe(space.dataset)} with its English translation; short lines in a wide plane are what an encoder wants. Below: the cosines of translations against those of other sentences. Planes are turned onto the first.`;
  const planes = space.models.some(model => model.umap) ? `<label>Plane <select id="plane"><option value="pca">PCA</option><option value="umap">UMAP</option></select></label>` : "";
  at("space-controls").innerHTML = `<label>Language <select id="language"><option value="all">all</option>${codes.map(code => `<option>${safe(code)}</option>`).join("")}</select></label>${planes}<span class="key"><i style="background:var(--c0)"></i>other languages, and pairs</span><span class="key"><i style="background:var(--c1)"></i>English, and other sentences</span>`;
  for (const [id, name] of [["language", "language"], ["plane", "plane"]]) at(id)?.addEventListener("change", event => { view[name] = event.target.value; drawSpace(); });
  drawSpace();
}

if (at("plots")) {
  makePlots();
  drawPlots();
  let width = innerWidth;
  addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; drawPlots(); } });
  for (const moment of ["beforeprint", "afterprint"]) addEventListener(moment, () => {
    paper = moment === "beforeprint" ? 860 / scatters.length : 0;
    drawPlots();
  });
}
if (at("space")) makeSpace();
