// The gallery: a list of samples that is filtered, sorted and grouped; only what is in view is in
// the page. Text from the dataset enters it as text nodes alone. Data: see gallery_page.py.
"use strict";

const byId = (id) => document.getElementById(id);
const OUTCOMES = ["consensus", "pseudo_label", "scene", "rejected", "synthesized"];
const SAID = {
  consensus: "consensus", pseudo_label: "pseudo label", rejected: "rejected",
  synthesized: "synthesized", refined: "refined", none: "no mask", scene: "scene",
  composed: "composed",
};
const CELLS = 16; // a side of the coarse masks
const GAP = 10, MARGIN = 14, LINE = 22, GROUP = 34; // px; as in the style sheet
const AHEAD = 300; // px above and below the view that are in the page as well

/** An element with properties and children; a child that is a string becomes text. */
function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  const { dataset, style, ...others } = properties;
  Object.assign(element, others);
  Object.assign(element.dataset, dataset);
  Object.assign(element.style, style);
  element.append(...children);
  return element;
}

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const percent = (part) => `${(100 * part).toFixed(part < 0.1 ? 1 : 0)} %`;
const score = (value) => (value === null ? "–" : value.toFixed(2));

// ---------------------------------------------------------------- data

/** The rows of data.js as objects: samples know their entry, entries their support pairs. */
function readData(data) {
  const read = (fields, row) => Object.fromEntries(fields.map((field, i) => [field, row[i]]));
  const locate = (item, folder) => {
    item.stem = `${data.pictures}/${folder}/${String(item.index).padStart(6, "0")}`;
    item.isLarge = Math.max(item.width, item.height) > data.thumbnailSize;
    return item;
  };
  const shelves = data.support.map((shelf) => ({
    folder: shelf.folder,
    pairs: shelf.pairs.map((row) => {
      const pair = locate(read(data.pairFields, row), shelf.pictures);
      return Object.assign(pair, { folder: shelf.folder, isPair: true });
    }),
  }));
  const samples = [];
  const entries = data.entries.map((entry, number) => {
    const known = { ...entry, number, support: shelves[entry.support] };
    for (const row of entry.samples) {
      const sample = locate(read(data.sampleFields, row), entry.id);
      sample.entry = known;
      sample.outcome = sample.mask_source ?? sample.status;
      samples.push(sample);
    }
    delete known.samples;
    return known;
  });
  const categories = [...new Set(entries.map((entry) => entry.category))];
  return { title: data.title, thumbnailSize: data.thumbnailSize, samples, entries, categories };
}

// ---------------------------------------------------------------- state

let all = { samples: [], entries: [], categories: [] };
const state = {
  tab: "samples", view: "image", group: "entry", sort: "index", cell: 136, cards: "category",
  chosen: { category: new Set(), status: new Set(), source: new Set(), mark: new Set(), entry: new Set() },
  minIou: 0, minScore: 0, minLikeness: 0,
  shown: [], groups: [], // what passes the filters, in order; {entry, members, from, to} of it
  current: -1, // place in `shown` of the sample that keys act on
};

/** The facets by which samples are filtered: none chosen means all of them. */
const FACETS = {
  category: { of: (s) => s.entry.category, values: () => all.categories },
  status: { of: (s) => s.status, values: () => ["synthesized", "refined", "rejected", "composed"] },
  source: { of: (s) => s.mask_source ?? "none", values: () => ["consensus", "pseudo_label", "scene", "none"] },
  mark: { of: (s) => (marks.has(s) ? "marked" : "not marked"), values: () => ["marked", "not marked"] },
  entry: { of: (s) => s.entry.id, values: () => all.entries.map((entry) => entry.id) },
};

const GROUPINGS = {
  entry: (s) => s.entry.id,
  category: (s) => s.entry.category,
  none: () => "",
};

const SORTS = {
  iou: (s) => s.iou,
  score: (s) => s.score,
  likeness: (s) => s.likeness,
  area: (s) => s.area,
};

/** The samples that pass the filters, and how many there are of each value of each facet. */
function filtered() {
  const names = Object.keys(FACETS);
  const counts = Object.fromEntries(names.map((name) => [name, new Map()]));
  const shown = [];
  for (const sample of all.samples) {
    if (state.minIou > 0 && !(sample.iou >= state.minIou)) continue;
    if (state.minScore > 0 && !(sample.score >= state.minScore)) continue;
    if (state.minLikeness > 0 && !(sample.likeness >= state.minLikeness)) continue;
    const values = names.map((name) => FACETS[name].of(sample));
    const failed = names.filter((name, i) => state.chosen[name].size && !state.chosen[name].has(values[i]));
    if (!failed.length) shown.push(sample);
    // A facet counts what would be shown if it alone were set free.
    names.forEach((name, i) => {
      if (!failed.length || (failed.length === 1 && failed[0] === name)) {
        counts[name].set(values[i], (counts[name].get(values[i]) ?? 0) + 1);
      }
    });
  }
  return { shown, counts };
}

/** Filter, group and sort; then show the result. */
function apply() {
  const { shown, counts } = filtered();
  state.shown = [];
  state.groups = [];
  for (const [, members] of grouped(shown, state.group)) {
    const from = state.shown.length;
    for (const sample of sorted(members)) state.shown.push(sample);
    state.groups.push({ entry: members[0].entry, members, from, to: state.shown.length });
  }
  state.current = state.shown.length ? 0 : -1;
  showCounts(counts);
  byId("samples").scrollTop = 0;
  layOut();
  if (state.tab === "classes") showClasses();
}

function grouped(samples, by) {
  const groups = new Map();
  if (by === "category") for (const name of all.categories) groups.set(name, []);
  for (const sample of samples) {
    const key = GROUPINGS[by](sample);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(sample);
  }
  return [...groups].filter(([, members]) => members.length);
}

/** A sorted copy; samples without the value come last, whichever way. */
function sorted(samples) {
  const [by, way] = state.sort.split("-");
  if (!SORTS[by]) return samples;
  const value = SORTS[by];
  const sign = way === "up" ? 1 : -1;
  return [...samples].sort((a, b) => {
    const [x, y] = [value(a), value(b)];
    if (x === null || y === null) return (x === null) - (y === null);
    return sign * (x - y);
  });
}

// ---------------------------------------------------------------- marks

/** Marked samples by name, kept in this browser; a sample that was made anew is not marked. */
const marks = {
  found: new Map(),
  elsewhere: [], // of samples that this page leaves out, as a page of some classes does
  place: `aligndiff-marks:${location.pathname}`,
  load() {
    let kept = [];
    try {
      kept = [...new Map(JSON.parse(localStorage.getItem(this.place)) ?? [])];
    } catch {
      // nothing may be kept here, or it is not ours
    }
    const made = new Map(all.samples.map((sample) => [sample.name, sample.fingerprint]));
    this.found = new Map(kept.filter(([name, fingerprint]) => made.get(name) === fingerprint));
    this.elsewhere = kept.filter(([name]) => !made.has(name));
  },
  has(sample) {
    return this.found.has(sample.name);
  },
  set(samples, marked) {
    for (const sample of samples) {
      if (marked) this.found.set(sample.name, sample.fingerprint);
      else this.found.delete(sample.name);
    }
    try {
      localStorage.setItem(this.place, JSON.stringify([...this.found, ...this.elsewhere]));
    } catch {
      say("marks cannot be kept in this browser: download the list");
    }
    for (const cell of document.querySelectorAll(".cell")) {
      showMark(cell, state.shown[cell.dataset.at]);
    }
    recordDialog.showMark();
    showCounts(filtered().counts);
    showFoot();
  },
  /** Mark them all, unless all are. */
  toggle(samples) {
    this.set(samples, !samples.every((sample) => this.has(sample)));
  },
  names() {
    return all.samples.filter((sample) => this.has(sample)).map((sample) => sample.name);
  },
};

function showMark(cell, sample) {
  cell.classList.toggle("marked", marks.has(sample));
  cell.setAttribute("aria-selected", marks.has(sample));
}

function showFoot() {
  const count = marks.found.size;
  byId("marked-count").textContent = count;
  byId("shown-count").textContent = state.shown.length;
  for (const id of ["save-marked", "copy-marked", "clear-marks"]) byId(id).disabled = !count;
  for (const id of ["save-shown", "copy-shown", "mark-shown"]) byId(id).disabled = !state.shown.length;
  const allMarked = state.shown.length > 0 && state.shown.every((sample) => marks.has(sample));
  byId("mark-shown").textContent = allMarked ? "Unmark all" : "Mark all";
}

let silence = 0;
function say(words) {
  byId("said").textContent = words;
  clearTimeout(silence);
  silence = setTimeout(() => (byId("said").textContent = ""), 4000);
}

function saveList(names, what) {
  const address = URL.createObjectURL(new Blob([names.map((name) => `${name}\n`).join("")], { type: "text/plain" }));
  const title = all.title.replace(/[^\p{L}\p{N}._-]+/gu, "_");
  el("a", { href: address, download: `${title}_${what}.txt` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  say(`${names.length} names in ${title}_${what}.txt`);
}

async function copyList(names) {
  try {
    await navigator.clipboard.writeText(names.join("\n"));
    say(`${names.length} names copied`);
  } catch {
    say("this browser does not let a page copy: download the list");
  }
}

async function loadList(file) {
  const names = new Set((await file.text()).split(/\r?\n/).map((line) => line.trim()).filter(Boolean));
  const found = all.samples.filter((sample) => names.has(sample.name));
  marks.set(found, true);
  say(`${found.length} of ${names.size} names are samples here`);
}

// ---------------------------------------------------------------- pictures

/** The picture of a sample or pair, with the layers that its view needs. */
function picture(item, view, large = false) {
  const source = large && item.isLarge ? `${item.stem}_large.jpg` : `${item.stem}.jpg`;
  const photo = el("img", { className: "photo", src: source, alt: "", draggable: false, decoding: "async" });
  const pic = el("span", { className: "pic" }, photo);
  pic.classList.toggle("bare", item.area === null);
  pic.item = item;
  setView(pic, view);
  return pic;
}

/** Real pairs and scenes have none. */
const hasHeatmap = (item) => !item.isPair && item.mask_source !== "scene";

function setView(pic, view) {
  const { item } = pic;
  const there = view === "mask" ? item.area !== null : view === "heatmap" && hasHeatmap(item);
  if (there && !pic.querySelector(`.${view}`)) {
    pic.append(el("img", { className: `layer ${view}`, src: `${item.stem}_${view}.png`, alt: "", draggable: false }));
  }
  pic.dataset.view = view === "heatmap" && !hasHeatmap(item) ? "image" : view;
}

/** What hovering shows: the mask where the image is, and the image where something else is. */
function peeked(item) {
  if (state.view !== "image") return "image";
  return item.area === null && !item.isPair ? "heatmap" : "mask";
}

function peekOnHover(element) {
  const pic = element.querySelector(".pic");
  element.addEventListener("pointerenter", () => setView(pic, peeked(pic.item)));
  element.addEventListener("pointerleave", () => setView(pic, state.view));
}

function pairButton(pair, pairs) {
  const button = el("button", { className: "pair", title: `real pair ${pair.name}` }, picture(pair, state.view));
  peekOnHover(button);
  button.addEventListener("click", () => recordDialog.open(pairs, pairs.indexOf(pair)));
  return button;
}

// ---------------------------------------------------------------- the list of samples

const grid = {
  columns: 1,
  side: 0, // px, of a cell's picture
  rows: [], // {group} or {from, to}, places in `shown`
  tops: [], // px, of each row and of the end
  drawn: new Map(), // the rows that are in the page, by number
};

/** Share the samples out over rows, whose heights are known without drawing them. */
function layOut(keep = -1) {
  const width = byId("samples").clientWidth - 2 * MARGIN;
  grid.columns = Math.max(1, Math.floor((width + GAP) / (state.cell + GAP)));
  grid.side = Math.floor((width + GAP) / grid.columns - GAP);
  grid.rows = [];
  grid.tops = [0];
  const add = (row, height) => {
    grid.rows.push(row);
    grid.tops.push(grid.tops[grid.tops.length - 1] + height);
  };
  for (const group of state.groups) {
    if (state.group !== "none") add({ group }, GROUP);
    for (let from = group.from; from < group.to; from += grid.columns) {
      add({ group, from, to: Math.min(group.to, from + grid.columns) }, grid.side + LINE + GAP);
    }
  }
  byId("rows").style.height = `${grid.tops[grid.rows.length] + MARGIN}px`;
  byId("rows").style.marginTop = state.group === "none" ? `${MARGIN}px` : "0";
  for (const row of grid.drawn.values()) row.remove();
  grid.drawn.clear();
  if (keep >= 0) byId("samples").scrollTop = grid.tops[rowOf(keep)];
  byId("empty").hidden = state.shown.length > 0;
  const of = state.shown.length === all.samples.length ? "" : ` of ${all.samples.length}`;
  byId("count").textContent = `${state.shown.length}${of} samples`;
  showFoot();
  drawRows();
}

/** The last row that begins at or above `y` px. */
function rowAt(y) {
  let low = 0, high = grid.rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (grid.tops[middle] <= y) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** The row of a sample, by its place in `shown`. */
function rowOf(place) {
  let low = 0, high = grid.rows.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    const row = grid.rows[middle];
    if ((row.from ?? row.group.from) <= place && !(row.from === undefined && row.group.from === place)) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Put the rows in view into the page, and take the others out. */
function drawRows() {
  const view = byId("samples");
  const first = rowAt(view.scrollTop - AHEAD), last = rowAt(view.scrollTop + view.clientHeight + AHEAD);
  for (const [number, row] of grid.drawn) {
    if (number < first || number > last) {
      row.remove();
      grid.drawn.delete(number);
    }
  }
  for (let number = first; number <= last && number < grid.rows.length; number++) {
    if (grid.drawn.has(number)) continue;
    const row = grid.rows[number];
    const drawn = row.from === undefined ? groupRow(row.group) : sampleRow(row);
    drawn.style.transform = `translateY(${grid.tops[number]}px)`;
    grid.drawn.set(number, drawn);
    byId("rows").append(drawn);
  }
  showReference();
}

function groupRow(group) {
  const { entry, members } = group;
  const row = el("div", { className: "row group" }, el("strong", {}, entry.category));
  if (state.group === "entry") row.append(el("span", { className: "prompt", title: entry.prompt }, entry.prompt));
  row.append(el("span", { className: "number" }, `${members.length} · median IoU ${score(median(members, "iou"))}`));
  return row;
}

function sampleRow(row) {
  const drawn = el("div", { className: "row" });
  for (let place = row.from; place < row.to; place++) drawn.append(cell(state.shown[place], place));
  return drawn;
}

function cell(sample, place) {
  const line = el("span", { className: "line" }, sign(sample.outcome), `#${sample.index}`,
    el("span", { className: "score" }, score(sample.iou)));
  const drawn = el("div", {
    className: "cell", id: `cell-${place}`, role: "option", dataset: { at: place, name: sample.name },
    title: `${SAID[sample.outcome]}, IoU ${score(sample.iou)}`, style: { width: `${grid.side}px` },
  }, picture(sample, state.view), line);
  drawn.classList.toggle("current", place === state.current);
  showMark(drawn, sample);
  peekOnHover(drawn);
  drawn.addEventListener("pointermove", () => setCurrent(place));
  drawn.addEventListener("click", () => recordDialog.open(state.shown, place));
  return drawn;
}

const sign = (outcome) => el("i", { className: `sign ${outcome}` });

function setCurrent(place) {
  if (place === state.current) return;
  byId(`cell-${state.current}`)?.classList.remove("current");
  state.current = place;
  byId(`cell-${place}`)?.classList.add("current");
  byId("samples").setAttribute("aria-activedescendant", `cell-${place}`);
  showReference();
}

/** Make a sample the current one, and scroll just so far that it is in view. */
function goTo(place) {
  if (!state.shown.length) return;
  setCurrent(Math.max(0, Math.min(state.shown.length - 1, place)));
  const row = rowOf(state.current), view = byId("samples");
  // With the first row of a group its heading comes into view too.
  const top = grid.tops[grid.rows[row - 1]?.from === undefined ? Math.max(0, row - 1) : row];
  if (top < view.scrollTop) view.scrollTop = top;
  const bottom = grid.tops[row + 1] + MARGIN - view.clientHeight;
  if (bottom > view.scrollTop) view.scrollTop = bottom;
  drawRows();
}

/** The place one row of samples further up (-1) or down (1), in the same column. */
function rowAway(way) {
  const here = rowOf(state.current), column = state.current - grid.rows[here].from;
  let row = here + way;
  if (grid.rows[row] && grid.rows[row].from === undefined) row += way;
  const found = grid.rows[row];
  if (!found || found.from === undefined) return state.current;
  return Math.min(found.from + column, found.to - 1);
}

/** The real pairs of the current sample's class; of the one at the top when it is out of view. */
function showReference() {
  const view = byId("samples"), bar = byId("reference");
  const top = grid.tops[rowOf(state.current)] - view.scrollTop;
  const inView = top > -grid.side && top < view.clientHeight;
  const row = grid.rows[rowAt(view.scrollTop + GROUP)];
  const entry = state.shown[inView ? state.current : row?.group.from]?.entry;
  bar.hidden = !entry || state.tab !== "samples";
  if (!entry || (bar.shows === entry.support && bar.category === entry.category)) return;
  Object.assign(bar, { shows: entry.support, category: entry.category });
  bar.querySelector("strong").textContent = entry.category;
  const { pairs } = entry.support;
  bar.querySelector(".pairs").replaceChildren(...pairs.map((pair) => pairButton(pair, pairs)));
}

// ---------------------------------------------------------------- filters

function buildFilters() {
  for (const [facet, { values }] of Object.entries(FACETS)) {
    byId(`filter-${facet}`).replaceChildren(...values().map((value) => choice(facet, value)));
  }
}

function choice(facet, value) {
  const box = el("input", { type: "checkbox" });
  box.addEventListener("change", () => {
    if (box.checked) state.chosen[facet].add(value);
    else state.chosen[facet].delete(value);
    apply();
  });
  const name = el("span", { className: "name" });
  if (facet === "entry") {
    const entry = all.entries.find((known) => known.id === value);
    name.append(entry.prompt);
    name.title = `${value}\n${entry.prompt}`;
  } else {
    name.append(facet === "category" ? value : SAID[value] ?? value);
  }
  const hasSign = ["status", "source"].includes(facet) && OUTCOMES.includes(value);
  const label = el("label", {}, box, ...(hasSign ? [sign(value)] : []), name, el("span", { className: "number" }));
  return Object.assign(el("li", {}, label), { choice: value });
}

function showCounts(counts) {
  for (const facet of Object.keys(FACETS)) {
    for (const item of byId(`filter-${facet}`).children) {
      const count = counts[facet].get(item.choice) ?? 0;
      item.querySelector(".number").textContent = count;
      item.querySelector("input").checked = state.chosen[facet].has(item.choice);
      item.classList.toggle("none", count === 0);
    }
  }
  byId("min-iou").value = state.minIou;
  byId("min-iou-value").textContent = state.minIou > 0 ? state.minIou.toFixed(2) : "any";
  byId("min-score").value = state.minScore;
  byId("min-score-value").textContent = state.minScore > 0 ? state.minScore.toFixed(2) : "any";
  byId("min-likeness").value = state.minLikeness;
  byId("min-likeness-value").textContent = state.minLikeness > 0 ? state.minLikeness.toFixed(2) : "any";
  byId("reset").disabled = state.minIou === 0 && state.minScore === 0 && state.minLikeness === 0 && Object.values(state.chosen).every((chosen) => !chosen.size);
}

function resetFilters() {
  for (const chosen of Object.values(state.chosen)) chosen.clear();
  state.minIou = 0;
  state.minScore = 0;
  state.minLikeness = 0;
  apply();
}

// ---------------------------------------------------------------- histograms

const BINS = 20;

function median(items, field) {
  const values = items.map((item) => item[field]).filter((value) => value !== null).sort((a, b) => a - b);
  if (!values.length) return null;
  const middle = values.length >> 1;
  return values.length % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

function showClasses() {
  const page = byId("cards");
  page.replaceChildren(el("p", { className: "intro" },
    `Of the ${state.shown.length} samples that pass the filters. `,
    el("i", { className: "diamond" }), " are the real pairs. Position: the fuller the colour, the more masks cover the place; dots are their centres. " +
    "A class whose samples are all alike is one high bar and one hard-edged blot."));
  const seen = new IntersectionObserver((changes) => {
    for (const { target, isIntersecting } of changes) {
      if (!isIntersecting) continue;
      seen.unobserve(target);
      fillCard(target, target.members);
    }
  }, { root: byId("classes"), rootMargin: "400px" });
  for (const [, members] of grouped(state.shown, state.cards)) {
    const card = el("article", { className: "card", style: { minHeight: "206px" } });
    card.members = members;
    page.append(card);
    seen.observe(card);
  }
}

function fillCard(card, members) {
  const [{ entry }] = members, { pairs } = entry.support;
  const masked = members.filter((sample) => sample.x !== null);
  card.append(
    summary(entry, members),
    histogram(members, "iou", "Agreement (IoU)", (x) => x, [0, 0.25, 0.5, 0.75, 1], String, []),
    // By the root, as objects are small: each bin is as wide in the object's diameter.
    histogram(members, "area", "Mask area", Math.sqrt, [0, 0.04, 0.25, 0.5, 1], (x) => `${100 * x}%`, pairs),
    positions(masked, pairs),
  );
}

function summary(entry, members) {
  const name = el("button", { title: "show these samples" }, entry.category);
  name.addEventListener("click", () => {
    state.chosen[state.cards] = new Set([GROUPINGS[state.cards](members[0])]);
    setTab("samples");
    apply();
  });
  const counts = OUTCOMES.map((outcome) => [outcome, members.filter((sample) => sample.outcome === outcome).length])
    .filter(([, count]) => count);
  const fact = (mark, words, value) => el("li", {}, ...(mark ? [mark] : []), words, el("b", {}, value));
  return el("div", {}, el("h3", {}, name),
    ...(state.cards === "entry" ? [el("div", { className: "prompt" }, entry.prompt)] : []),
    el("div", { className: "share" }, ...counts.map(([outcome, count]) =>
      el("i", { className: `${outcome}-fill`, style: { width: `${(100 * count) / members.length}%` } }))),
    el("ul", {}, ...counts.map(([outcome, count]) => fact(sign(outcome), SAID[outcome], String(count))),
      fact(null, "median IoU", score(median(members, "iou"))),
      fact(null, "median area", median(members, "area") === null ? "–" : percent(median(members, "area")))));
}

/** Bars of one field, stacked by outcome; the real pairs as diamonds above. */
function histogram(members, field, title, scale, ticks, tick, pairs) {
  const W = 300, H = 170, top = 14, base = 152;
  const bins = Array.from({ length: BINS }, () => Object.fromEntries(OUTCOMES.map((outcome) => [outcome, 0])));
  const known = members.filter((sample) => sample[field] !== null);
  for (const sample of known) bins[Math.min(BINS - 1, Math.floor(scale(sample[field]) * BINS))][sample.outcome]++;
  const totals = bins.map((bin) => Object.values(bin).reduce((a, b) => a + b));
  const most = Math.max(1, ...totals);
  const chart = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${title}: ${totals.join(" ")}` });
  bins.forEach((bin, i) => {
    let y = base;
    for (const outcome of OUTCOMES) {
      const height = (bin[outcome] / most) * (base - top);
      if (!height) continue;
      y -= height;
      const bar = { x: (i * W) / BINS + 1, y, width: W / BINS - 2, height, class: `${outcome}-fill` };
      chart.append(svg("rect", bar, svg("title", {}, `${bin[outcome]} ${SAID[outcome]}`)));
    }
  });
  chart.append(svg("line", { x1: 0, x2: W, y1: base, y2: base, class: "axis" }));
  for (const pair of pairs) {
    const x = scale(pair[field]) * W;
    chart.append(svg("path", { d: `M${x - 4} 5 l4 -4 l4 4 l-4 4 z`, class: "real" }, svg("title", {}, `real pair ${pair.name}`)));
  }
  for (const value of ticks) {
    const x = scale(value) * W;
    const anchor = x < 8 ? "start" : x > W - 8 ? "end" : "middle";
    chart.append(svg("text", { x, y: H - 3, "text-anchor": anchor }, tick(value)));
  }
  if (known.length) chart.append(svg("text", { x: 0, y: 9 }, String(most)));
  const note = known.length ? `${known.length} samples` : "none yet";
  return el("figure", {}, el("figcaption", {}, title, el("span", {}, note)), chart);
}

/** How many of the masks cover each place, dots for their centres, diamonds for the real ones. */
function positions(masked, pairs) {
  const covered = new Uint32Array(CELLS * CELLS);
  for (const { cells } of masked) {
    for (let i = 0; i < cells.length; i++) {
      const four = parseInt(cells[i], 16);
      for (let bit = 0; bit < 4; bit++) covered[4 * i + bit] += (four >> (3 - bit)) & 1;
    }
  }
  const canvas = el("canvas", { width: 352, height: 352 });
  const style = getComputedStyle(document.documentElement), pen = canvas.getContext("2d");
  const side = canvas.width / CELLS;
  pen.fillStyle = style.getPropertyValue("--accent");
  covered.forEach((count, i) => {
    pen.globalAlpha = masked.length ? count / masked.length : 0;
    pen.fillRect((i % CELLS) * side, Math.floor(i / CELLS) * side, side, side);
  });
  pen.fillStyle = style.getPropertyValue("--ink");
  pen.globalAlpha = Math.max(0.1, Math.min(0.6, 40 / masked.length));
  for (const { x, y } of masked) pen.fillRect(x * canvas.width - 2, y * canvas.height - 2, 4, 4);
  pen.globalAlpha = 1;
  pen.fillStyle = style.getPropertyValue("--real");
  for (const { x, y } of pairs.filter((pair) => pair.x !== null)) {
    pen.setTransform(1, 1, -1, 1, x * canvas.width, y * canvas.height);
    pen.fillRect(-5, -5, 10, 10);
    pen.resetTransform();
  }
  const most = masked.length ? `up to ${percent(Math.max(...covered) / masked.length)}` : "none yet";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", `Object position: ${most} of the masks cover one place`);
  return el("figure", {}, el("figcaption", {}, "Position", el("span", { title: "of the masks cover the place that most of them cover" }, most)), canvas);
}

function setTab(tab) {
  state.tab = tab;
  byId("samples").hidden = tab !== "samples";
  byId("classes").hidden = tab !== "classes";
  press("tabs", "tab", tab);
  if (tab === "classes") showClasses();
  else layOut(state.current);
  showReference();
  byId(tab).focus({ preventScroll: true });
}

function setCards(by) {
  state.cards = by;
  press("cards-by", "by", by);
  showClasses();
}

// ---------------------------------------------------------------- the record of a sample

const recordDialog = {
  items: [], place: 0,
  get item() {
    return this.items[this.place];
  },
  open(items, place) {
    this.items = items;
    this.show(place);
    if (!byId("record").open) byId("record").showModal();
    byId("record").focus();
  },
  show(place) {
    if (!this.items[place]) return;
    this.place = place;
    const dialog = byId("record"), { item } = this;
    if (!item.isPair && this.items === state.shown) goTo(place);
    dialog.querySelector(".stage").replaceChildren(picture(item, state.view, true));
    dialog.querySelector("h2").textContent = item.isPair ? `${item.folder} / ${item.name}` : item.name;
    dialog.querySelector(".place").textContent = `${place + 1} of ${this.items.length}`;
    dialog.querySelector(".previous").disabled = place === 0;
    dialog.querySelector(".next").disabled = place === this.items.length - 1;
    dialog.querySelector(".fields").replaceChildren(...(item.isPair ? pairFields(item) : sampleFields(item)));
    this.showMark();
    // The neighbours are loaded, so that the arrow keys show them at once.
    for (const near of [this.items[place - 1], this.items[place + 1]]) {
      if (near) new Image().src = near.isLarge ? `${near.stem}_large.jpg` : `${near.stem}.jpg`;
    }
  },
  showMark() {
    const dialog = byId("record");
    const marked = Boolean(this.item) && !this.item.isPair && marks.has(this.item);
    dialog.classList.toggle("marked", marked);
    dialog.querySelector(".mark").hidden = Boolean(this.item?.isPair);
    dialog.querySelector(".mark").firstChild.textContent = marked ? "Marked " : "Mark ";
  },
};

function fieldList(pairs) {
  return el("dl", {}, ...pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [el("dt", {}, name), el("dd", {}, value instanceof Node ? value : String(value))]));
}

function sampleFields(sample) {
  const { entry } = sample;
  const outcome = el("span", {}, sign(sample.outcome), sample.status,
    ...(sample.mask_source ? [`, ${SAID[sample.mask_source]}`] : []));
  const shown = ["index", "status", "mask_source", "iou", "score", "likeness", "ailments", "rejected_because", ...LOOK_FIELDS];
  const rest = GALLERY.sampleFields.filter((field) => field !== "name" && !shown.includes(field));
  const more = el("details", { open: true }, el("summary", {}, "Record"),
    fieldList(rest.map((field) => [field, sample[field]])));
  const settings = el("details", {}, el("summary", {}, "What the entry was made with"),
    fieldList([["entry", entry.id], ["type", entry.type], ["model", entry.model],
      ...Object.entries(entry.settings).map(([name, value]) => [name, typeof value === "object" ? JSON.stringify(value) : value])]));
  const { pairs } = entry.support;
  return [
    fieldList([
      ["class", entry.category], ["prompt", entry.prompt], ["status", outcome], ["agreement (IoU)", sample.iou?.toFixed(4)],
      ["score", sample.score?.toFixed(4)], ["likeness", sample.likeness?.toFixed(4)], ["odd", sample.ailments?.join(", ") || null],
      ["rejected", sample.rejected_because], ...lookFields(sample),
    ]),
    more, settings,
    el("div", { className: "real" }, ...pairs.slice(0, 10).map((pair) => pairButton(pair, pairs))),
  ];
}

const LOOK_FIELDS = ["height", "width", "area", "x", "y", "cells"];

function lookFields(item) {
  return [
    ["mask area", item.area === null ? null : percent(item.area)],
    ["centre", item.x === null ? null : `${percent(item.x)} from the left, ${percent(item.y)} from the top`],
    ["image", `${item.width} × ${item.height} px`],
  ];
}

function pairFields(pair) {
  return [fieldList([["real pair", pair.name], ["folder", pair.folder], ...lookFields(pair)])];
}

// ---------------------------------------------------------------- what the user does

function press(group, key, value) {
  for (const button of byId(group).children) button.setAttribute("aria-pressed", button.dataset[key] === value);
}

/** What a click on one of a row of buttons does; clicks between them do nothing. */
function onButton(group, act) {
  byId(group).addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) act(button.dataset);
  });
}

function setViewOfAll(view) {
  state.view = view;
  press("views", "view", view);
  press("record-views", "view", view);
  for (const pic of document.querySelectorAll(".pic")) setView(pic, view);
}

function showFilters(open) {
  document.body.classList.toggle("filtering", open);
  byId("toggle-filters").setAttribute("aria-expanded", open);
}

const VIEW_KEYS = { 1: "image", 2: "heatmap", 3: "mask" };

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("select, input[type=range], input[type=file]");
  const handled = VIEW_KEYS[event.key] && !event.target.matches?.("select")
    ? () => setViewOfAll(VIEW_KEYS[event.key])
    : typing ? null : byId("record").open ? recordKey(event) : byId("help").open ? null : pageKey(event);
  if (!handled) return;
  event.preventDefault();
  handled();
}

function recordKey(event) {
  return {
    ArrowRight: () => recordDialog.show(recordDialog.place + 1),
    ArrowLeft: () => recordDialog.show(recordDialog.place - 1),
    x: recordDialog.item.isPair ? null : () => marks.toggle([recordDialog.item]),
  }[event.key];
}

function pageKey(event) {
  const keys = {
    x: () => state.current >= 0 && marks.toggle([state.shown[state.current]]),
    X: () => marks.toggle(state.shown),
    h: () => setTab(state.tab === "samples" ? "classes" : "samples"),
    f: () => showFilters(!document.body.classList.contains("filtering")),
    "?": () => byId("help").showModal(),
    Escape: () => showFilters(false),
  };
  if (state.tab === "samples") {
    const page = Math.max(1, Math.floor(byId("samples").clientHeight / (grid.side + LINE + GAP)) - 1) * grid.columns;
    Object.assign(keys, {
      ArrowRight: () => goTo(state.current + 1),
      ArrowLeft: () => goTo(state.current - 1),
      ArrowDown: () => goTo(rowAway(1)),
      ArrowUp: () => goTo(rowAway(-1)),
      PageDown: () => goTo(state.current + page),
      PageUp: () => goTo(state.current - page),
      Home: () => goTo(0),
      End: () => goTo(state.shown.length - 1),
    });
  }
  if (event.target === byId("samples")) keys.Enter = () => recordDialog.open(state.shown, state.current);
  return keys[event.key];
}

function connect() {
  document.addEventListener("keydown", onKey);
  let waiting = false;
  byId("samples").addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      drawRows();
    });
  }, { passive: true });
  let width = byId("samples").clientWidth;
  new ResizeObserver(() => {
    const now = byId("samples").clientWidth;
    // At the very top it stays there: the first row stands below a heading.
    if (now && now !== width) layOut(byId("samples").scrollTop > 0 ? firstInView() : -1);
    else drawRows();
    width = now || width;
  }).observe(byId("samples"));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => state.tab === "classes" && showClasses());
  document.addEventListener("error", (event) => {
    if (event.target.matches?.(".photo")) event.target.parentElement.classList.add("broken");
  }, true);

  onButton("tabs", (data) => setTab(data.tab));
  onButton("views", (data) => setViewOfAll(data.view));
  onButton("record-views", (data) => setViewOfAll(data.view));
  onButton("cards-by", (data) => setCards(data.by));
  byId("group").addEventListener("change", (event) => { state.group = event.target.value; apply(); });
  byId("sort").addEventListener("change", (event) => { state.sort = event.target.value; apply(); });
  byId("size").addEventListener("input", (event) => {
    const keep = firstInView();
    state.cell = Number(event.target.value);
    layOut(keep);
  });
  byId("min-iou").addEventListener("input", (event) => { state.minIou = Number(event.target.value); apply(); });
  byId("min-score").addEventListener("input", (event) => { state.minScore = Number(event.target.value); apply(); });
  byId("min-likeness").addEventListener("input", (event) => { state.minLikeness = Number(event.target.value); apply(); });
  byId("reset").addEventListener("click", resetFilters);
  byId("toggle-filters").addEventListener("click", () => showFilters(!document.body.classList.contains("filtering")));
  document.body.addEventListener("pointerdown", (event) => event.target === document.body && showFilters(false));
  byId("show-help").addEventListener("click", () => byId("help").showModal());

  byId("save-marked").addEventListener("click", () => saveList(marks.names(), "marked"));
  byId("copy-marked").addEventListener("click", () => copyList(marks.names()));
  byId("clear-marks").addEventListener("click", () => {
    if (confirm(`Take the marks off ${marks.found.size} samples?`)) marks.set(all.samples, false);
  });
  byId("save-shown").addEventListener("click", () => saveList(state.shown.map((sample) => sample.name), "shown"));
  byId("copy-shown").addEventListener("click", () => copyList(state.shown.map((sample) => sample.name)));
  byId("mark-shown").addEventListener("click", () => marks.toggle(state.shown));
  byId("load-marks").addEventListener("click", () => byId("marks-file").click());
  byId("marks-file").addEventListener("change", async (event) => {
    if (event.target.files[0]) await loadList(event.target.files[0]);
    event.target.value = "";
  });

  const dialog = byId("record");
  dialog.querySelector(".previous").addEventListener("click", () => recordDialog.show(recordDialog.place - 1));
  dialog.querySelector(".next").addEventListener("click", () => recordDialog.show(recordDialog.place + 1));
  dialog.querySelector(".mark").addEventListener("click", () => marks.toggle([recordDialog.item]));
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => byId(state.tab).focus({ preventScroll: true }));
}

const firstInView = () => {
  const row = grid.rows[rowAt(byId("samples").scrollTop)];
  return row ? row.from ?? row.group.from : -1;
};

function start() {
  if (typeof GALLERY === "undefined") {
    byId("empty").textContent = "data.js is missing: run view_dataset again.";
    byId("empty").hidden = false;
    return;
  }
  all = readData(GALLERY);
  byId("title").textContent = document.title = all.title;
  marks.load();
  buildFilters();
  connect();
  apply();
  byId("samples").focus({ preventScroll: true });
}

start();
