// The page in which a person outlines the object of each photo. What is drawn goes to the server as
// packed bits when it is saved, and by itself before another photo is shown.
"use strict";

const byId = (id) => document.getElementById(id);
const CLOSE = 12; // px around the first point that close the polygon
const STEP = 4; // px of a freehand line from point to point
const PATIENCE = 10_000; // ms between two looks whether the command still runs
const HINTS = {
  polygon: "Click the corners, or drag along the edge; Enter or a click on the first point closes",
  brush: "Drag to paint; zoom in for finer strokes",
};
const MASK_COLOUR = "#ff2882";

const stage = new Stage(byId("stage"));
const state = {
  photos: [], // {name, saved}
  at: -1,
  mask: null, // of the photo that is shown; null while there is none
  saved: 0, // the mask's version that the server has
  version: 0,
  tool: "polygon", mode: "add", size: 36,
  points: [], // of the open polygon, in photo pixels
  alt: false, space: false,
  pointer: null, // where the mouse is, in CSS pixels of the stage
  busy: false, // while a photo loads or is saved
  finished: false,
};

// ---------------------------------------------------------------- the server

async function ask(path, options = {}) {
  const answer = await fetch(path, { cache: "no-store", ...options }).catch(() => null);
  if (!answer) throw new Error("The command does not answer. If it was stopped, start it again and open its new address; if the connection broke, mend it and save.");
  if (!answer.ok) throw new Error(await answer.text());
  return answer;
}

const coming = new Map(); // photos that are fetched or on their way, by number

function fetchPhoto(number) {
  if (!coming.has(number)) {
    const answer = ask(`photos/${number}`).then(async (got) => ({
      size: got.headers.get("X-Photo-Size").split("x").map(Number), blob: await got.blob(),
    }));
    answer.catch(() => coming.delete(number));
    coming.set(number, answer);
  }
  return coming.get(number);
}

async function decoded(blob) {
  const image = new Image();
  image.src = URL.createObjectURL(blob);
  try {
    await image.decode();
  } finally {
    URL.revokeObjectURL(image.src);
  }
  return image;
}

/** Show a photo and the mask it has so far. */
async function load(number) {
  Object.assign(state, { at: number, mask: null, points: [], busy: true });
  stage.empty();
  tell("");
  refresh();
  try {
    const { size, blob } = await fetchPhoto(number);
    const [image, start] = await Promise.all([
      decoded(blob), ask(`masks/${number}`).catch((error) => (tell(error.message), null)),
    ]);
    const mask = new Mask(...size);
    if (start?.status === 200) mask.load(new Uint8Array(await start.arrayBuffer()));
    Object.assign(state, { mask, version: 0, saved: 0 });
    stage.show(image, mask);
  } catch (error) {
    tell(error.message);
  }
  state.busy = false;
  refresh();
  for (const known of coming.keys()) if (Math.abs(known - number) > 1) coming.delete(known);
  if (number + 1 < state.photos.length) fetchPhoto(number + 1).catch(() => {});
}

const unsaved = () => state.mask !== null && state.version !== state.saved;

/** Whether all that is drawn is saved now; says what is wrong otherwise. */
async function save() {
  closePolygon();
  if (!unsaved()) return true;
  if (!state.mask.area) {
    tell("The mask is empty: draw the object.", true);
    return false;
  }
  const { version, at } = state;
  state.busy = true;
  refresh();
  try {
    await ask(`masks/${at}`, { method: "PUT", body: state.mask.packed() });
    state.saved = version;
    state.photos[at].saved = true;
    tell("");
  } catch (error) {
    tell(`Not saved. ${error.message}`, true);
  }
  state.busy = false;
  refresh();
  return !unsaved();
}

async function go(number) {
  if (state.busy || number < 0 || number >= state.photos.length || number === state.at) return;
  if (await save()) await load(number);
  else state.going = number;
}

/** Save, then go to the next photo without a mask, or to the next one. */
async function saveAndGo() {
  if (state.busy || !(await save())) return;
  const others = state.photos.map((photo, number) => number).filter((n) => !state.photos[n].saved);
  const next = others.find((number) => number > state.at) ?? others[0] ?? state.at + 1;
  if (next !== state.at && next < state.photos.length) await load(next);
  else byId("finish").focus();
}

async function finish() {
  if (state.busy || !(await save())) return;
  const left = state.photos.filter((photo) => !photo.saved).length;
  if (left && !(await sure(`${left === 1 ? "One photo has" : `${left} photos have`} no mask yet.`))) return;
  try {
    await ask("done", { method: "PUT" });
  } catch (error) {
    tell(error.message);
    return;
  }
  state.finished = true;
  const count = state.photos.length - left;
  byId("end").querySelector("h2").textContent = `${count} of ${state.photos.length} photos have a mask`;
  byId("end").hidden = false;
}

function sure(question) {
  const dialog = byId("ask");
  dialog.querySelector("p").textContent = question;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

/** Notice early when nothing can be saved any more. */
async function watch() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, PATIENCE));
    if (state.finished) return;
    try {
      await ask("session.json");
      if (state.away) tell("");
      state.away = false;
    } catch (error) {
      state.away = true;
      tell(error.message);
    }
  }
}

// ---------------------------------------------------------------- drawing

const erases = (event) => (state.mode === "erase") !== (state.alt || event?.altKey || false);
const value = (event) => (erases(event) ? 0 : 1);
const radius = () => state.size / 2 / stage.zoom; // photo pixels

function drew() {
  if (state.mask.commit()) state.version++;
  refresh();
}

function closePolygon() {
  const { points, mask } = state;
  state.points = [];
  if (mask && points.length > 2) {
    stage.drawBox(mask.polygon(points, value()));
    drew();
  }
  stage.draw("line");
  return points.length > 0;
}

function step(direction) {
  if (!state.mask || state.points.length) return takePointBack();
  const box = direction === "undo" ? state.mask.undo() : state.mask.redo();
  if (box) {
    state.version++;
    stage.drawBox(box);
    refresh();
  }
}

function takePointBack() {
  state.points.pop();
  stage.draw("line");
  refresh();
}

const distance = (a, b) => Math.hypot(a.x - b.x, a.y - b.y);

/** Each tool's press, drag and release; `drop` forgets a press that became a gesture. */
const TOOLS = {
  polygon: {
    press(place) {
      const { points } = state;
      this.before = points.length;
      this.closed = points.length > 2 && distance(stage.toScreen(points[0]), place) < CLOSE;
      if (this.closed) closePolygon();
      else points.push(stage.toPhoto(place.x, place.y));
      refresh();
    },
    drag(place) {
      const last = state.points.at(-1);
      if (this.closed || !last || distance(stage.toScreen(last), place) < STEP) return;
      state.points.push(stage.toPhoto(place.x, place.y));
    },
    release(place) {
      // A line that was dragged around the object and back closes by itself.
      const { points } = state;
      const around = points.length - this.before > 8;
      if (!this.closed && around && distance(stage.toScreen(points[0]), place) < CLOSE) closePolygon();
      refresh();
    },
    drop() {
      state.points.length = Math.min(state.points.length, this.before);
    },
  },
  brush: {
    press(place, event) {
      this.value = value(event);
      this.last = stage.toPhoto(place.x, place.y);
      stage.drawBox(state.mask.stroke(this.last, this.last, radius(), this.value));
    },
    drag(place) {
      const to = stage.toPhoto(place.x, place.y);
      stage.drawBox(state.mask.stroke(this.last, to, radius(), this.value));
      this.last = to;
    },
    release() {
      drew();
    },
    drop() {
      stage.drawBox(state.mask.revert());
    },
  },
};

stage.drawLine = (context) => {
  const place = state.pointer;
  if (!state.mask) return;
  if (state.tool === "brush") {
    if (place && !state.space) circle(context, place, state.size / 2);
    return;
  }
  const points = state.points.map((point) => stage.toScreen(point));
  if (!points.length) return;
  const closes = points.length > 2 && place && distance(points[0], place) < CLOSE;
  const end = place && !hand.pan ? [closes ? points[0] : place] : [];
  const path = new Path2D();
  for (const point of [...points, ...end]) path.lineTo(point.x, point.y);
  if (points.length > 2) {
    context.fillStyle = erases() ? "rgb(14 16 22 / .3)" : "rgb(255 40 130 / .2)";
    context.fill(path);
  }
  for (const [width, colour] of [[3.5, "rgb(255 255 255 / .85)"], [1.75, erases() ? "#0e1016" : MASK_COLOUR]]) {
    Object.assign(context, { lineWidth: width, strokeStyle: colour, lineJoin: "round" });
    context.stroke(path);
  }
  circle(context, points[0], closes ? 8 : 5, "#fff");
};

function circle(context, { x, y }, size, fill) {
  const path = new Path2D();
  path.arc(x, y, size, 0, 2 * Math.PI);
  if (fill) {
    context.fillStyle = fill;
    context.fill(path);
  }
  for (const [width, colour] of [[3, "rgb(255 255 255 / .85)"], [1.5, erases() ? "#0e1016" : MASK_COLOUR]]) {
    Object.assign(context, { lineWidth: width, strokeStyle: colour });
    context.stroke(path);
  }
}

// ---------------------------------------------------------------- mouse, pen, fingers

const hand = {
  fingers: new Map(), // of the touch pointers that are down: where they are
  pan: null, // {id, place} while the photo is moved by one pointer
  tool: null, // {id, tool} while something is drawn
};

function placeOf(event) {
  const box = byId("stage").getBoundingClientRect();
  return { x: event.clientX - box.x, y: event.clientY - box.y };
}

function pressed(event) {
  if (event.target.closest("#trouble")) return;
  event.preventDefault();
  const place = placeOf(event);
  state.pointer = place;
  byId("stage").setPointerCapture(event.pointerId);
  if (event.pointerType === "touch") {
    hand.fingers.set(event.pointerId, place);
    if (hand.fingers.size === 2) {
      hand.tool?.tool.drop();
      hand.tool = null;
      stage.draw("line");
    }
    if (hand.fingers.size > 1) return;
  }
  if (!state.mask || state.busy || hand.tool) return;
  const eraser = event.button === 5; // of a pen
  if (event.button === 1 || event.button === 2 || state.space) {
    hand.pan = { id: event.pointerId, place };
    byId("stage").classList.add("moving");
  } else if (event.button === 0 || eraser) {
    hand.tool = { id: event.pointerId, tool: TOOLS[state.tool] };
    if (eraser && state.mode !== "erase") setMode("erase");
    hand.tool.tool.press(place, event);
  }
  stage.draw("line");
}

function moved(event) {
  const place = placeOf(event);
  if (hand.fingers.has(event.pointerId)) {
    if (hand.fingers.size === 2) gesture(event.pointerId, place);
    hand.fingers.set(event.pointerId, place);
  }
  if (hand.pan?.id === event.pointerId) {
    stage.moveBy(place.x - hand.pan.place.x, place.y - hand.pan.place.y);
    hand.pan.place = place;
  } else if (hand.tool?.id === event.pointerId) {
    // A fast stroke: the places between two frames count as well.
    const all = event.getCoalescedEvents?.() ?? [];
    for (const each of all.length ? all : [event]) hand.tool.tool.drag(placeOf(each), each);
  }
  state.pointer = hand.fingers.size > 1 ? null : place;
  stage.draw("line");
}

/** Two fingers: what is between them stays between them. */
function gesture(id, place) {
  const other = [...hand.fingers].find(([finger]) => finger !== id)[1];
  const before = hand.fingers.get(id);
  const middle = (a, b) => ({ x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 });
  const from = middle(before, other), to = middle(place, other);
  stage.moveBy(to.x - from.x, to.y - from.y);
  stage.zoomBy(distance(place, other) / Math.max(1, distance(before, other)), to.x, to.y);
}

function released(event) {
  hand.fingers.delete(event.pointerId);
  if (hand.pan?.id === event.pointerId) {
    hand.pan = null;
    byId("stage").classList.toggle("moving", state.space);
  } else if (hand.tool?.id === event.pointerId) {
    const { tool } = hand.tool;
    hand.tool = null;
    if (event.type === "pointercancel") tool.drop();
    else tool.release(placeOf(event));
  }
  if (event.pointerType === "touch") state.pointer = null;
  stage.draw("line");
}

function wheeled(event) {
  event.preventDefault();
  const place = placeOf(event);
  const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 33 : 1;
  if (event.shiftKey) stage.moveBy(-(event.deltaX || event.deltaY) * lines, 0);
  else stage.zoomBy(Math.exp((-event.deltaY * lines) / (event.ctrlKey ? 100 : 400)), place.x, place.y);
}

// ---------------------------------------------------------------- keys

const KEYS = {
  p: () => setTool("polygon"),
  b: () => setTool("brush"),
  e: () => setMode(state.mode === "add" ? "erase" : "add"),
  "[": () => setSize(state.size - 6),
  "]": () => setSize(state.size + 6),
  z: (event) => step(event.shiftKey ? "redo" : "undo"),
  y: () => step("redo"),
  s: save,
  Enter: () => (state.points.length ? closePolygon() && refresh() : saveAndGo()),
  Escape: () => { state.points = []; stage.draw("line"); refresh(); },
  Backspace: () => state.points.length && takePointBack(),
  "+": () => stage.zoomBy(1.5),
  "=": () => stage.zoomBy(1.5),
  "-": () => stage.zoomBy(1 / 1.5),
  0: () => stage.fit(),
  1: () => setLook("tint"),
  2: () => setLook("cutout"),
  3: () => setLook("photo"),
  ArrowLeft: () => go(state.at - 1),
  ArrowRight: () => go(state.at + 1),
  "?": () => byId("help").showModal(),
};

function keyDown(event) {
  if (state.finished || document.querySelector("dialog[open]")) return;
  const held = event.ctrlKey || event.metaKey;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (event.key === "Alt") {
    state.alt = true;
    stage.draw("line");
  }
  // The control that was reached by the keyboard comes first.
  if (event.target.matches("button") && ["Enter", " "].includes(key)) return;
  if (event.target.matches("input") && key.startsWith("Arrow")) return;
  if (key === " ") {
    state.space = true;
    byId("stage").classList.add("moving");
    stage.draw("line");
    event.preventDefault();
  } else if (KEYS[key] && (!held || ["z", "y", "s"].includes(key)) && !(event.repeat && key === "Enter")) {
    event.preventDefault();
    if (!hand.tool) KEYS[key](event);
  }
}

function keyUp(event) {
  if (event.key === "Alt") state.alt = false;
  else if (event.key === " ") state.space = false;
  else return;
  byId("stage").classList.toggle("moving", Boolean(state.space || hand.pan));
  stage.draw("line");
  event.preventDefault();
}

// ---------------------------------------------------------------- what is shown

const press = (id, key, chosen) => {
  for (const button of byId(id).children) button.setAttribute("aria-pressed", button.dataset[key] === chosen);
};

function setTool(tool) {
  if (tool !== state.tool) closePolygon();
  state.tool = byId("stage").dataset.tool = tool;
  press("tools", "tool", tool);
  stage.draw("line");
  refresh();
}

function setMode(mode) {
  state.mode = mode;
  press("modes", "mode", mode);
  stage.draw("line");
}

function setLook(look) {
  press("looks", "look", look);
  stage.setLook(look);
}

function setSize(size) {
  const slider = byId("size");
  slider.value = size;
  state.size = Number(slider.value);
  stage.draw("line");
}

/** Say what went wrong; `stays` offers to go on without saving. */
function tell(problem, stays = false) {
  byId("trouble").hidden = !problem;
  byId("trouble").querySelector("span").textContent = problem;
  byId("discard").hidden = !stays;
}

function refresh() {
  const { mask, photos, at, points } = state;
  const photo = photos[at];
  byId("undo").disabled = !mask || !(mask.past.length || points.length);
  byId("redo").disabled = !mask?.future.length || points.length > 0;
  byId("clear").disabled = !mask?.area;
  byId("save").disabled = state.busy || !(unsaved() || points.length > 2);
  byId("save-next").disabled = state.busy || !mask;
  byId("finish").disabled = state.busy;
  byId("previous").disabled = at <= 0;
  byId("next").disabled = at >= photos.length - 1;
  byId("place").textContent = photo ? `${at + 1} of ${photos.length} · ${photo.name}` : "";
  byId("place").title = photo?.name ?? "";
  byId("about").textContent = mask ? `${mask.width} × ${mask.height} px, object ${share(mask)}` : "";
  const saved = photo?.saved && !unsaved();
  byId("state").classList.toggle("saved", Boolean(saved));
  byId("state").textContent = saved ? "saved" : unsaved() ? "not saved yet" : "";
  document.querySelector(".size").classList.toggle("off", state.tool !== "brush");
  byId("hint").textContent = mask && (!mask.area || points.length) ? HINTS[state.tool] : state.busy && !mask ? "Loading …" : "";
  [...byId("strip").children].forEach((button, number) => {
    button.classList.toggle("saved", photos[number].saved);
    if (number === at) button.setAttribute("aria-current", "true");
    else button.removeAttribute("aria-current");
  });
  byId("strip").children[at]?.scrollIntoView({ block: "nearest", inline: "nearest" });
}

function share(mask) {
  const part = (100 * mask.area) / (mask.width * mask.height);
  return `${part.toFixed(part && part < 10 ? 1 : 0)} %`;
}

function buildStrip() {
  byId("strip").hidden = state.photos.length < 2;
  byId("strip").replaceChildren(...state.photos.map((photo, number) => {
    const button = document.createElement("button");
    const image = Object.assign(document.createElement("img"), { alt: "", loading: "lazy", src: `thumbnails/${number}` });
    const label = Object.assign(document.createElement("span"), { className: "number", textContent: number + 1 });
    Object.assign(button, { title: photo.name, ariaLabel: `Photo ${number + 1}: ${photo.name}` });
    button.append(image, label);
    button.addEventListener("click", () => go(number));
    return button;
  }));
}

// ---------------------------------------------------------------- together

function connect() {
  const element = byId("stage");
  element.addEventListener("pointerdown", pressed);
  element.addEventListener("pointermove", moved);
  element.addEventListener("pointerup", released);
  element.addEventListener("pointercancel", released);
  element.addEventListener("pointerleave", () => { if (!hand.tool) { state.pointer = null; stage.draw("line"); } });
  element.addEventListener("dblclick", () => state.tool === "polygon" && closePolygon());
  element.addEventListener("contextmenu", (event) => event.preventDefault());
  element.addEventListener("wheel", wheeled, { passive: false });
  element.addEventListener("moved", () => { byId("zoom").textContent = `${Math.round(100 * stage.zoom)} %`; });
  addEventListener("keydown", keyDown);
  addEventListener("keyup", keyUp);
  addEventListener("blur", () => Object.assign(state, { alt: false, space: false }));
  addEventListener("beforeunload", (event) => {
    if (!state.finished && (unsaved() || state.points.length > 2)) event.preventDefault();
  });
  // A click on a button leaves the keys with the photo.
  document.addEventListener("mousedown", (event) => event.target.closest("header button, footer button, nav button") && event.preventDefault());

  const groups = { tools: (data) => setTool(data.tool), modes: (data) => setMode(data.mode), looks: (data) => setLook(data.look) };
  for (const [id, act] of Object.entries(groups)) {
    byId(id).addEventListener("click", (event) => {
      const button = event.target.closest("button");
      if (button) act(button.dataset);
    });
  }
  const actions = {
    undo: () => step("undo"), redo: () => step("redo"), save, finish,
    "save-next": saveAndGo, previous: () => go(state.at - 1), next: () => go(state.at + 1),
    "zoom-in": () => stage.zoomBy(1.5), "zoom-out": () => stage.zoomBy(1 / 1.5), "zoom-fit": () => stage.fit(),
    "show-help": () => byId("help").showModal(),
    clear: () => { stage.drawBox(state.mask.clear()); drew(); },
    discard: () => load(state.going ?? state.at),
  };
  for (const [id, act] of Object.entries(actions)) byId(id).addEventListener("click", () => act());
  byId("size").addEventListener("input", (event) => setSize(event.target.value));
}

async function start() {
  connect();
  try {
    const { title, photos } = await (await ask("session.json")).json();
    state.photos = photos;
    if (title) document.title = byId("title").textContent = `Outline: ${title}`;
    buildStrip();
    const first = photos.findIndex((photo) => !photo.saved);
    await load(Math.max(0, first));
    watch();
  } catch (error) {
    tell(error.message);
  }
}

start();
