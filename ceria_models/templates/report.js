"use strict";
(async () => {
const $ = (id) => document.getElementById(id);
const read = (id) => JSON.parse($(id).textContent);
const page = read("content"), pictures = read("pictures");
const { shown, sites, traces, events } = page;
const n = sites.species.length, T = traces.frames.length;
const state = { at: 0, view: "averaged", site: -1, event: -1, zoom: 1, playing: 0,
                species: new Set(["Ce"]) };

// ---- counts: seven arrays of bytes, (site, time), packed with gzip
async function unpack(text) {
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const all = new Uint8Array(await new Response(stream).arrayBuffer());
  const names = ["occupancy", "confidence", "low", "high", "reading", "readingConfidence", "level"];
  return Object.fromEntries(names.map((name, i) => [name, all.subarray(i * n * T, (i + 1) * n * T)]));
}
const counts = await unpack($("counts").textContent.trim());
const MISSING = 255;
const levelAt = (i) => counts.level[i] / 16 - 2;
const timeOf = new Map(traces.frames.map((frame, i) => [frame, i]));
const column = (i) => traces.frames.length ? timeOf.get(shown.frames[i]) : -1;

// ---- the film
const stage = $("stage"), pen = stage.getContext("2d");
const [ny, nx] = page.pixels, extent = [nx * page.sampling, ny * page.sampling];
const width = Math.min(540, Math.round(400 * nx / ny)), height = Math.round(width * ny / nx);
const ratio = Math.max(1, window.devicePixelRatio || 1, 2);
stage.width = width * ratio; stage.height = height * ratio;
stage.style.width = width + "px"; stage.style.aspectRatio = `${width} / ${height}`;
const cache = new Map();
function picture(kind, i) {
  const key = kind + i;
  if (!cache.has(key)) {
    const image = new Image();
    const text = kind === "reference" ? pictures.reference : pictures[kind][i];
    cache.set(key, image);
    image.addEventListener("load", () => { if (wanted() === image) draw(); });
    image.src = "data:image/jpeg;base64," + text;
  }
  return cache.get(key);
}
const wanted = () => state.view === "reference" || !pictures.raw.length
  ? picture("reference", 0) : picture(state.view, state.at);
const still = () => state.view === "reference" || !pictures.raw.length;
// Å in the shown image; the mean of the film has no drift.
function placeIn(x, y) {
  const [dx, dy] = still() ? [0, 0] : shown.drift[state.at];
  return [x + dx, y + dy];
}
const placeOf = (site) => placeIn(sites.x[site], sites.y[site]);
function windowOf() {
  const size = [extent[0] / state.zoom, extent[1] / state.zoom];
  const middle = state.site >= 0 ? placeOf(state.site) : [extent[0] / 2, extent[1] / 2];
  const from = middle.map((m, i) => Math.min(Math.max(m - size[i] / 2, 0), extent[i] - size[i]));
  return { from, size };
}
const half = page.sampling / 2;
function toStage([x, y], { from, size }) {
  return [(x + half - from[0]) / size[0] * stage.width, (y + half - from[1]) / size[1] * stage.height];
}
function draw() {
  const image = wanted(), win = windowOf();
  pen.fillStyle = "black"; pen.fillRect(0, 0, stage.width, stage.height);
  if (image.complete && image.naturalWidth) {
    const sx = image.naturalWidth / extent[0], sy = image.naturalHeight / extent[1];
    pen.imageSmoothingEnabled = state.view !== "raw";
    pen.drawImage(image, win.from[0] * sx, win.from[1] * sy, win.size[0] * sx, win.size[1] * sy,
                  0, 0, stage.width, stage.height);
  }
  const perA = stage.width / win.size[0], t = column(state.at);
  // O columns lie 1.35 Å from Ce columns and 1.9 Å from each other.
  const radius = { Ce: 0.55 * perA, O: 0.42 * perA };
  for (let site = 0; site < n; site++) {
    const species = sites.species[site];
    if (!state.species.has(species) || t < 0) continue;
    const count = counts.occupancy[site * T + t];
    if (count === MISSING) continue;
    disc(toStage(placeOf(site), win), radius[species], species, count,
         counts.confidence[site * T + t] / 255);
  }
  marks(win, perA); bar(perA);
}
function disc([x, y], r, species, count, confidence) {
  const colour = count ? page.colours[species][count - 1] : "#ffffff", sure = confidence >= 0.5;
  pen.beginPath(); pen.arc(x, y, r, 0, 7);
  pen.globalAlpha = count ? 0.35 + 0.65 * confidence : 0.6;
  pen.fillStyle = sure && count ? colour : "rgba(20,20,20,0.75)"; pen.fill();
  pen.globalAlpha = 1;
  pen.lineWidth = Math.max(1.5, 0.14 * r); pen.strokeStyle = colour;
  pen.setLineDash(count ? [] : [r / 3, r / 3]); pen.stroke(); pen.setLineDash([]);
  if (r < 5 * ratio) return;
  pen.font = `${(count < 10 ? 1.35 : 1.1) * r}px system-ui, sans-serif`;
  pen.textAlign = "center"; pen.textBaseline = "middle";
  pen.fillStyle = sure && count && light(colour) ? "black" : "white";
  pen.fillText(count, x, y + 0.06 * r);
}
function light(hex) {
  const [r, g, b] = [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  return 0.3 * r + 0.59 * g + 0.11 * b > 130;
}
const ring = (site, win, perA) => ringAt(toStage(placeOf(site), win), perA);
function ringAt([x, y], perA) {
  pen.beginPath(); pen.arc(x, y, 0.95 * perA, 0, 7);
  pen.lineWidth = 4 * ratio; pen.strokeStyle = "black"; pen.stroke();
  pen.lineWidth = 2 * ratio; pen.strokeStyle = "white"; pen.stroke();
  return [x, y];
}
function marks(win, perA) {
  const event = events[state.event];
  if (event) {
    const own = [event.site_from, event.site_to].filter((site) => site >= 0);
    const ends = own.map((site) => ring(site, win, perA));
    if (ends.length === 2) arrow(ends[0], ends[1], 0.95 * perA);
    if (!ends.length) ringAt(toStage(placeIn(event.x_A, event.y_A), win), perA);
  }
  if (state.site >= 0 && !(event && [event.site_from, event.site_to].includes(state.site)))
    ring(state.site, win, perA);
}
function arrow([x0, y0], [x1, y1], gap) {
  const far = Math.hypot(x1 - x0, y1 - y0), u = [(x1 - x0) / far, (y1 - y0) / far];
  if (far < 2 * gap) return;
  const a = [x0 + u[0] * gap, y0 + u[1] * gap], b = [x1 - u[0] * gap, y1 - u[1] * gap];
  const head = 5 * ratio;
  pen.beginPath();
  pen.moveTo(...a); pen.lineTo(...b);
  pen.moveTo(b[0] - head * (u[0] + 0.6 * u[1]), b[1] - head * (u[1] - 0.6 * u[0])); pen.lineTo(...b);
  pen.lineTo(b[0] - head * (u[0] - 0.6 * u[1]), b[1] - head * (u[1] + 0.6 * u[0]));
  pen.lineWidth = 4 * ratio; pen.strokeStyle = "black"; pen.stroke();
  pen.lineWidth = 2 * ratio; pen.strokeStyle = "white"; pen.stroke();
}
function bar(perA) {
  const lengths = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50].filter((nm) => nm * 10 * perA < stage.width / 3);
  const nm = lengths.length ? lengths[lengths.length - 1] : 0.1, long = nm * 10 * perA;
  const x = 12 * ratio, y = stage.height - 12 * ratio;
  pen.fillStyle = "rgba(0,0,0,0.6)"; pen.fillRect(x - 6 * ratio, y - 24 * ratio, long + 12 * ratio, 30 * ratio);
  pen.fillStyle = "white"; pen.fillRect(x, y - 3 * ratio, long, 3 * ratio);
  pen.font = `${13 * ratio}px system-ui, sans-serif`; pen.textAlign = "center"; pen.textBaseline = "bottom";
  pen.fillText(`${nm} nm`, x + long / 2, y - 5 * ratio);
}

// ---- where we are
const seconds = (s) => s.toFixed(page.decimals) + " s";
function go(at) {
  state.at = Math.min(Math.max(at, 0), shown.frames.length - 1);
  $("frame").value = state.at;
  const frame = shown.frames[state.at];
  const words = `frame ${frame} (0 to ${page.n_frames - 1}), ${seconds(shown.time[state.at])}`;
  const dose = shown.dose[state.at];
  $("where").textContent = words + (dose ? `, ${dose} e⁻/Å²` : "") +
    (still() ? " (image: mean of the whole film)" : "");
  $("frame").setAttribute("aria-valuetext", words);
  draw(); now();
}
const nearest = (frame) => {
  const after = shown.frames.findIndex((f) => f >= frame);
  return after < 0 ? shown.frames.length - 1 : after;
};
function play(on) {
  clearInterval(state.playing);
  state.playing = on ? setInterval(() => {
    let next = state.at;
    do next = (next + 1) % shown.frames.length; while (!shown.regular[next]);
    go(next);
  }, 100) : 0;
  $("play").textContent = on ? "Pause" : "Play";
  $("play").setAttribute("aria-pressed", String(Boolean(on)));
}

// ---- pictures of lines
const SVG = "http://www.w3.org/2000/svg";
function add(parent, tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.appendChild(node);
  return node;
}
const t0 = page.time[0], span = Math.max(page.time[1] - t0, 1e-9);
const left = 46, right = 712, top_ = 10, bottom = 212;
const xOf = (time) => left + (right - left) * (page.n_frames > 1 ? (time - t0) / span : 0.5);
function ticks(low, high, most) {
  const rough = Math.max((high - low) / most, 1e-9), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough);
  const found = [];
  for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + 1e-9; v += step) found.push(v);
  return { found, places: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}
function trace() {
  const svg = $("trace"), site = state.site;
  svg.replaceChildren();
  if (site < 0) {
    $("trace-words").textContent = "Click a column of the film, or choose one below it.";
    svg.style.display = "none"; return;
  }
  svg.style.display = "block";
  const base = site * T, species = sites.species[site], at = [];
  const leveled = counts.level.subarray(base, base + T).some((v) => v !== MISSING);
  let least = 99, most = 0;
  for (let t = 0; t < T; t++) if (counts.occupancy[base + t] !== MISSING) {
    at.push(t);
    least = Math.min(least, counts.low[base + t]); most = Math.max(most, counts.high[base + t]);
    const read = leveled && page.tracked ? MISSING : counts.reading[base + t];
    if (leveled && page.tracked && counts.level[base + t] !== MISSING) {
      least = Math.min(least, Math.round(levelAt(base + t))); most = Math.max(most, Math.round(levelAt(base + t)));
    }
    if (read !== MISSING) { least = Math.min(least, read); most = Math.max(most, read); }
  }
  const own = events.filter((e) => e.site_from === site || e.site_to === site);
  $("trace-words").textContent = !at.length ? `Column ${site} is not in the field.` :
    `Column ${site}, ${species}${sites.place[site] ? ", " + sites.place[site] : ""}, at x ${sites.x[site].toFixed(1)}, y ${sites.y[site].toFixed(1)} Å: ` +
    `${own.length} event${own.length === 1 ? "" : "s"}. ` + (page.tracked ?
      "Line: most probable count from all frames; band: 90 % interval; " + (leveled ?
      "dots: level of single frames, the atoms that the contrast amounts to." : "dots: single frames, fainter where less sure.") :
      "Dots and band: count and 90 % interval of single frames; the film was not tracked.");
  if (!at.length) return;
  least = Math.max(0, least - 1); most += 1;
  const yOf = (count) => bottom - (bottom - top_) * (count - least) / (most - least);
  for (const v of ticks(least, most, 8).found) if (Number.isInteger(v)) {
    add(svg, "path", { class: "axis", d: `M${left} ${yOf(v)}H${right}` });
    add(svg, "text", { x: left - 6, y: yOf(v) + 4, "text-anchor": "end" }, v);
  }
  const times = page.n_frames > 1 ? ticks(t0, t0 + span, 8) : { found: [t0], places: 2 };
  for (const v of times.found)
    add(svg, "text", { x: xOf(v), y: bottom + 17, "text-anchor": "middle" }, v.toFixed(times.places));
  add(svg, "text", { x: (left + right) / 2, y: bottom + 35, "text-anchor": "middle" }, "time (s)");
  add(svg, "text", { transform: `translate(13 ${(top_ + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" },
      `${species} atoms in the column`);
  const x = at.map((t) => xOf(traces.time[t])), last = at.length - 1;
  const wide = last ? 0 : 12;
  const steps = (values) => at.map((t, i) => {
    const y = yOf(values[base + t]).toFixed(1);
    return i ? `H${x[i].toFixed(1)}V${y}` : `M${(x[0] - wide).toFixed(1)} ${y}`;
  }).join("") + `H${(x[last] + wide).toFixed(1)}`;
  const back = at.map((t, i) => {
    const k = last - i, y = yOf(counts.low[base + at[k]]).toFixed(1);
    return `V${y}H${(k ? x[k] : x[0] - wide).toFixed(1)}`;
  }).join("");
  add(svg, "path", { class: "band", d: steps(counts.high) + back + "Z" });
  if (leveled && page.tracked) {
    const d = at.filter((t) => counts.level[base + t] !== MISSING)
      .map((t) => `M${xOf(traces.time[t]).toFixed(1)} ${yOf(Math.max(least, levelAt(base + t))).toFixed(1)}h0`);
    add(svg, "path", { class: "dots", d: d.join(""), "stroke-width": T > 600 ? 2 : T > 150 ? 3 : 5 });
  } else for (const [from, to, opacity] of [[0, 0.4, 0.35], [0.4, 0.7, 0.65], [0.7, 1.01, 1]]) {
    const d = at.filter((t) => {
      const p = counts.readingConfidence[base + t] / 255;
      return counts.reading[base + t] !== MISSING && p >= from && p < to;
    }).map((t) => `M${xOf(traces.time[t]).toFixed(1)} ${yOf(counts.reading[base + t]).toFixed(1)}h0`);
    if (d.length) add(svg, "path", { class: "dots", d: d.join(""), opacity,
                       "stroke-width": T > 600 ? 3 : T > 150 ? 4 : 6 });
  }
  if (page.tracked) add(svg, "path", { class: "line", d: steps(counts.occupancy) });
  for (const e of own) {
    const line = add(svg, "path", { class: "event", stroke: page.kinds[e.kind].colour,
                                    d: `M${xOf(e.time_s)} ${top_}V${bottom}` });
    add(line, "title", {}, `${page.kinds[e.kind].words}, ${seconds(e.time_s)}`);
  }
  add(svg, "path", { class: "now", id: "now" });
  now();
}
function now() {
  const x = xOf(shown.time[state.at]);
  if ($("now")) $("now").setAttribute("d", `M${x} ${top_}V${bottom}`);
  if ($("strip-now")) $("strip-now").setAttribute("d", `M${stripX(shown.time[state.at])} 0V20`);
}
const stripX = (time) => 8 + 704 * (page.n_frames > 1 ? (time - t0) / span : 0.5);
function strip() {
  const svg = $("strip");
  if (!page.tracked) { svg.style.display = "none"; return; }
  svg.setAttribute("viewBox", "0 0 720 20"); svg.setAttribute("preserveAspectRatio", "none");
  add(svg, "path", { class: "axis", d: "M8 10H712" });
  events.forEach((e, i) => {
    const tick = add(svg, "path", { d: `M${stripX(e.time_s)} 2V18`, stroke: page.kinds[e.kind].colour,
                                    "stroke-width": 3, opacity: 0.3 + 0.7 * e.confidence });
    add(tick, "title", {}, `${page.kinds[e.kind].words}, ${seconds(e.time_s)}`);
    tick.style.cursor = "pointer"; tick.addEventListener("click", () => jump(i));
  });
  add(svg, "path", { class: "now", id: "strip-now" });
}

// ---- columns and events
function choose(site, keepEvent) {
  state.site = site;
  if (!keepEvent) state.event = -1;
  $("site").value = site >= 0 ? String(site) : "";
  rowsMarked(); trace(); draw();
}
function jump(i) {
  const event = events[i];
  play(false);
  state.event = i;
  const site = event.site_from >= 0 ? event.site_from : event.site_to;
  if (site >= 0) {
    const species = sites.species[site], box = speciesBoxes.find((one) => one.value === species);
    state.species.add(species); if (box) box.checked = true;
  }
  choose(site, true); go(nearest(event.frame));
}
const speciesBoxes = [...document.querySelectorAll("[name=species]")];
const COLUMNS = [
  ["time_s", "time [s]"], ["kind", "what"], ["species", "species"], ["site_from", "from"],
  ["site_to", "to"], ["confidence", "confidence"]];
const order = { key: "time_s", sign: 1 };
function cell(event, key) {
  if (key === "time_s") {
    const d = page.decimals, range = [event.time_low_s, event.time_high_s].map((s) => s.toFixed(d));
    return `${event.time_s.toFixed(d)} (${range.join(" to ")})`;
  }
  if (key === "confidence") return event.confidence.toFixed(2);
  if (key.startsWith("site")) return event[key] >= 0 ? `column ${event[key]}` : "–";
  return event[key];
}
function table() {
  const box = $("events");
  box.replaceChildren();
  if (!events.length) {
    box.textContent = page.tracked ? "No event was found in this film." :
      "Not known: ceria-models track has not run on this prediction.";
    return;
  }
  const grid = document.createElement("table"), head = grid.createTHead().insertRow();
  for (const [key, words] of COLUMNS) {
    const th = document.createElement("th"), button = document.createElement("button");
    th.scope = "col"; button.type = "button"; button.textContent = words;
    th.setAttribute("aria-sort", order.key !== key ? "none" : order.sign > 0 ? "ascending" : "descending");
    button.addEventListener("click", () => {
      order.sign = order.key === key ? -order.sign : 1; order.key = key; table();
      box.querySelectorAll("th button")[COLUMNS.findIndex(([k]) => k === key)].focus();
    });
    th.appendChild(button); head.appendChild(th);
  }
  const body = grid.createTBody(), sorted = events.map((e, i) => i);
  sorted.sort((a, b) => {
    const [u, v] = [events[a][order.key], events[b][order.key]];
    return order.sign * (u < v ? -1 : u > v ? 1 : 0) || a - b;
  });
  for (const i of sorted) {
    const row = body.insertRow();
    row.dataset.event = i;
    for (const [key] of COLUMNS) {
      const td = row.insertCell();
      if (key === "time_s") {
        const button = document.createElement("button");
        button.type = "button"; button.textContent = cell(events[i], key);
        button.title = "show this event"; button.addEventListener("click", () => jump(i));
        td.appendChild(button);
      } else if (key === "kind") {
        const swatch = document.createElement("span");
        swatch.className = "swatch"; swatch.style.background = page.kinds[events[i].kind].colour;
        td.append(swatch, page.kinds[events[i].kind].words);
      } else td.textContent = cell(events[i], key);
    }
  }
  box.appendChild(grid); rowsMarked();
}
function rowsMarked() {
  for (const row of document.querySelectorAll("#events tr[data-event]"))
    row.classList.toggle("chosen", Number(row.dataset.event) === state.event);
}

// ---- tables to take away
function csv(names, rows) {
  const quoted = (v) => /[",\n\r]/.test(v) ? `"${v.replaceAll('"', '""')}"` : v;
  return [names, ...rows].map((row) => row.map((v) => quoted(String(v ?? ""))).join(",")).join("\r\n") + "\r\n";
}
function tableOf(name) {
  const of = (rows) => rows.length ? csv(Object.keys(rows[0]), rows.map(Object.values)) : "\r\n";
  if (name === "events") return of(events);
  if (name === "rates") return of(page.rates);
  if (name === "sites")
    return csv(["site", "species", "x_A", "y_A"], sites.species.map((s, i) => [i, s, sites.x[i], sites.y[i]]));
  const at = (key, t) => counts[key][state.site * T + t];
  const rows = traces.frames.map((frame, t) => [frame, t]).filter(([, t]) => at("occupancy", t) !== MISSING);
  return csv(["site", "frame", "time_s", "occupancy", "confidence", "low_90", "high_90", "one_frame", "one_frame_confidence", "level"],
    rows.map(([frame, t]) => [state.site, frame, traces.time[t], at("occupancy", t), (at("confidence", t) / 255).toFixed(3),
      at("low", t), at("high", t), at("reading", t), (at("readingConfidence", t) / 255).toFixed(3),
      at("level", t) === MISSING ? "" : (at("level", t) / 16 - 2).toFixed(2)]));
}
window.ceriaTable = tableOf;
for (const button of document.querySelectorAll("[data-table]")) button.addEventListener("click", () => {
  const name = button.dataset.table;
  if (name === "trace" && state.site < 0) { $("trace-words").scrollIntoView(); return; }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([tableOf(name)], { type: "text/csv" }));
  link.download = name === "trace" ? `column-${state.site}.csv` : `${name}.csv`;
  link.click(); URL.revokeObjectURL(link.href);
});

// ---- legend
function legend() {
  const box = $("legend");
  for (const species of Object.keys(page.colours).filter((name) => sites.species.includes(name))) {
    const line = document.createElement("span"), scale = document.createElement("span");
    scale.className = "scale"; line.append(`${species} atoms`, scale);
    page.colours[species].forEach((colour, i) => {
      const part = document.createElement("span");
      part.textContent = i + 1; part.style.background = colour;
      part.style.color = light(colour) ? "black" : "white"; scale.appendChild(part);
    });
    box.appendChild(line);
  }
  for (const [style, words] of [["full", "confidence 0.5 or more, stronger where surer"],
                                ["", "hollow: below 0.5, the count may well be another"]]) {
    const line = document.createElement("span"), mark = document.createElement("span");
    mark.className = "mark " + style; line.append(mark, words); box.appendChild(line);
  }
}

// ---- what a person does
$("frame").max = shown.frames.length - 1;
$("frame").disabled = $("play").disabled = shown.frames.length < 2;
$("neighbours").textContent = page.neighbours;
for (const radio of document.querySelectorAll("[name=view]")) {
  if (!pictures.raw.length) {
    radio.disabled = radio.value !== "reference"; radio.checked = radio.value === "reference";
  }
  radio.addEventListener("change", () => { state.view = radio.value; go(state.at); });
}
if (!pictures.raw.length) state.view = "reference";
for (const box of speciesBoxes) {
  box.disabled = !sites.species.includes(box.value); box.checked = box.checked && !box.disabled;
  box.addEventListener("change", () => {
    state.species[box.checked ? "add" : "delete"](box.value); draw();
  });
}
for (let i = 0; i < n; i++) {
  const option = document.createElement("option");
  option.value = i; option.textContent = `${i} (${sites.species[i]})`; $("site").appendChild(option);
}
$("frame").addEventListener("input", () => { play(false); go(Number($("frame").value)); });
$("play").addEventListener("click", () => play(!state.playing));
$("zoom").addEventListener("change", () => { state.zoom = Number($("zoom").value); draw(); });
$("site").addEventListener("change", () => choose($("site").value === "" ? -1 : Number($("site").value)));
document.addEventListener("keydown", (key) => {
  if (key.key !== " " || key.ctrlKey || key.altKey || key.metaKey) return;
  if (key.target.closest("button, select, a, [type=checkbox], [type=radio]")) return;
  if ($("play").disabled) return;
  key.preventDefault(); play(!state.playing);
});
stage.addEventListener("click", (click) => {
  const box = stage.getBoundingClientRect(), win = windowOf();
  const x = win.from[0] + (click.clientX - box.left) / box.width * win.size[0] - half;
  const y = win.from[1] + (click.clientY - box.top) / box.height * win.size[1] - half;
  let best = -1, far = 1.2;
  for (let site = 0; site < n; site++) {
    if (!state.species.has(sites.species[site])) continue;
    const [sx, sy] = placeOf(site), d = Math.hypot(sx - x, sy - y);
    if (d < far) { far = d; best = site; }
  }
  choose(best);
});
$("trace").addEventListener("click", (click) => {
  const box = $("trace").getBoundingClientRect();
  const x = (click.clientX - box.left) / box.width * 720, time = t0 + (x - left) / (right - left) * span;
  let best = 0;
  shown.time.forEach((t, i) => { if (Math.abs(t - time) < Math.abs(shown.time[best] - time)) best = i; });
  play(false); go(best);
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
legend(); strip(); table(); trace(); go(0);
document.documentElement.dataset.ready = "yes";
})().catch((error) => {
  const text = document.createElement("p");
  text.className = "warning";
  text.textContent = `This page cannot be shown (${error.message}); a browser of 2023 or newer is needed.`;
  document.querySelector("header").appendChild(text);
  throw error;
});
