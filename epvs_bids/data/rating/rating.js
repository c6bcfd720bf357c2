// One rater's way through the scans: what is clicked, undone and saved. Text from the server is only set as text.
import { Viewer } from "./viewer.js";

const byId = (id) => document.getElementById(id);
const SETTLE = 500; // ms: a scan can't be done sooner than anyone has looked at it, by a double click for instance
const NOTCH = 50; // pixels of the wheel that make a slice: a mouse's notch has more, a touch pad sends many small ones
const viewer = new Viewer(byId("view"));
const session = { rater: "", page: 0, states: [], position: 0, table: "", marks: "" };
let reading = null; // {marks, level, state}
let history = []; // what undo goes back to
let pending = Promise.resolve(); // saves go out one after the other
let loads = 0, saves = 0;

async function ask(path, content) {
  const options = content === undefined ? {} : {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
  };
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("epvs-rate does not answer. Start it again and open the address that it prints.");
  }
  if (answer.ok) return answer;
  const isJson = (answer.headers.get("Content-Type") || "").startsWith("application/json");
  throw new Error(isJson ? (await answer.json()).error : `${answer.status} ${answer.statusText}`);
}

function address(position) { return `api/raters/${encodeURIComponent(session.rater)}/readings/${position}`; }

function say(text, alarm = false) {
  byId("banner").textContent = text;
  byId("banner").classList.toggle("alarm", alarm);
  byId("banner").hidden = !text;
}

function open(id) { for (const name of ["start", "rating", "finish"]) byId(name).hidden = name !== id; }

// ---- what is shown

function draw() {
  if (!reading) return;
  viewer.draw(reading.marks, reading.level);
  const height = viewer.height(), offset = height - viewer.slab.level;
  const counted = viewer.slice === viewer.sliceAt(reading.level);
  const where = Math.abs(offset) < 1e-6 ? "at the commissure" : `${Math.abs(offset).toFixed(1)} mm ${offset > 0 ? "above" : "below"} it`;
  byId("slice-text").textContent = `${where}${counted ? " · counted" : ""}`;
  byId("slice").value = viewer.slice;
  byId("view").classList.toggle("elsewhere", !counted);
  byId("count").textContent = reading.state === "unratable" ? "–" : reading.marks.length;
  byId("count-label").textContent = reading.state === "unratable" ? "can’t be rated" : "EPVS marked";
  byId("unratable").setAttribute("aria-pressed", reading.state === "unratable");
  byId("hide").setAttribute("aria-pressed", !viewer.showMarks);
  byId("undo").disabled = history.length === 0;
  byId("count-here").disabled = counted;
  byId("home").disabled = counted;
}

function showProgress() {
  const done = session.states.filter((state) => state !== "open").length;
  byId("progress").textContent = `Rater ${session.rater} · scan ${session.position + 1} of ${session.states.length} · ${done} done`;
  byId("bar").max = session.states.length;
  byId("bar").value = done;
  byId("previous").disabled = session.position === 0;
  byId("next").disabled = session.position === session.states.length - 1;
}

function finish() {
  byId("finish-text").textContent = `${session.states.length} readings of rater ${session.rater} are saved.`;
  byId("finish-table").textContent = session.table;
  byId("finish-marks").textContent = session.marks;
  reading = null;
  open("finish");
}

async function go(position) {
  const load = ++loads;
  session.position = position;
  reading = null;
  history = [];
  open("rating");
  say("");
  showProgress();
  byId("loading").hidden = false;
  byId("done").disabled = true;
  try {
    const answer = await (await ask(address(position))).json();
    const voxels = new Uint8Array(await (await ask(`${address(position)}/image`)).arrayBuffer());
    if (load !== loads) return; // the rater has gone on
    const slab = { ...answer.geometry, voxels };
    const first = viewer.slab === null;
    viewer.show(slab);
    if (first) reset();
    else if (viewer.fitted) viewer.fit(); // boxes lie differently; zoom and grey scale stay as the rater set them
    reading = { marks: answer.marks, level: answer.level ?? slab.level, state: answer.state };
    byId("slice").max = slab.shape[2] - 1;
    viewer.slice = viewer.sliceAt(reading.level);
    byId("saved").textContent = reading.state === "open" ? "" : "Read before; changes are saved at once.";
    draw();
    byId("view").focus({ preventScroll: true });
    setTimeout(() => { if (load === loads) byId("done").disabled = false; }, SETTLE);
  } catch (error) {
    if (load === loads) say(error.message, true);
  } finally {
    if (load === loads) byId("loading").hidden = true;
  }
}

// ---- what is saved

function save() {
  const number = ++saves, content = { ...reading, page: session.page }, target = address(session.position);
  byId("saved").textContent = "Saving…";
  pending = pending.then(async () => {
    try {
      session.states = (await (await ask(target, content)).json()).states;
      if (number === saves) byId("saved").textContent = "Saved."; // else a later change is still on its way
      return true;
    } catch (error) {
      byId("saved").textContent = "Not saved.";
      say(`Not saved: ${error.message}`, true);
      return false;
    }
  });
  return pending;
}

function change(update) {
  if (!reading) return;
  history.push(reading);
  reading = { ...reading, ...update };
  say("");
  draw();
  save();
}

function undo() {
  if (!reading || history.length === 0) return;
  reading = history.pop();
  viewer.slice = viewer.sliceAt(reading.level);
  draw();
  save();
}

function toggleMark(mx, my) {
  if (!reading) return;
  if (reading.state === "unratable") return say("This scan is set to “can’t be rated”: press X to change that.");
  if (viewer.slice !== viewer.sliceAt(reading.level)) {
    return say("Only looking: EPVS are counted in one slice. C goes back to it, R counts in this one instead.");
  }
  if (!viewer.holds(mx, my)) return;
  const on = viewer.markAt(reading.marks, mx, my);
  const marks = on >= 0
    ? reading.marks.filter((_, index) => index !== on)
    : [...reading.marks, [mx, my, viewer.height()]];
  viewer.showMarks = true;
  change({ marks });
}

function countHere() {
  if (!reading || viewer.slice === viewer.sliceAt(reading.level)) return;
  const removed = reading.marks.length;
  change({ level: viewer.height(), marks: [] });
  say(removed ? `Now counting in this slice; ${removed} marks of the other one are removed (Z brings them back).` : "Now counting in this slice.");
}

function toggleUnratable() {
  if (!reading) return;
  change(reading.state === "unratable" ? { state: "open" } : { state: "unratable", marks: [] });
}

async function done() {
  if (!reading || byId("done").disabled) return;
  if (reading.state === "open") reading = { ...reading, state: "done" };
  const load = loads;
  byId("done").disabled = true;
  const saved = await save();
  if (load !== loads) return; // the rater has gone on
  byId("done").disabled = false;
  if (!saved) return;
  const after = session.states.indexOf("open", session.position + 1);
  const open = after >= 0 ? after : session.states.indexOf("open");
  if (open >= 0) go(open); else finish();
}

// ---- mouse, wheel, keys

function scroll(steps) {
  if (!reading) return;
  viewer.slice = Math.min(viewer.slab.shape[2] - 1, Math.max(0, viewer.slice + steps));
  say("");
  draw();
}

function setWindow(brightness, contrast) {
  viewer.brightness = Math.min(100, Math.max(0, brightness));
  viewer.contrast = Math.min(100, Math.max(0, contrast));
  byId("brightness").value = viewer.brightness;
  byId("contrast").value = viewer.contrast;
  draw();
}

// The ring that a click would remove is shown bold.
function hover(event) {
  const box = byId("view").getBoundingClientRect();
  const place = viewer.toMillimetres(event.clientX - box.left, event.clientY - box.top);
  const counted = viewer.slice === viewer.sliceAt(reading.level);
  const under = (counted && reading.marks[viewer.markAt(reading.marks, ...place)]) || null;
  if (under === viewer.under) return;
  viewer.under = under;
  draw();
}

function listenToMouse(canvas) {
  let drag = null, turned = 0;
  canvas.addEventListener("contextmenu", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    drag = { x: event.clientX, y: event.clientY, button: event.button, far: false };
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!reading) return;
    if (!drag) return hover(event);
    const dx = event.clientX - drag.x, dy = event.clientY - drag.y;
    if (!drag.far && Math.hypot(dx, dy) < 4) return; // an unsteady click, no drag
    Object.assign(drag, { x: event.clientX, y: event.clientY, far: true });
    if (drag.button === 2) return setWindow(viewer.brightness - dy / 4, viewer.contrast + dx / 4);
    viewer.move(dx / viewer.view.scale, dy / viewer.view.scale);
    draw();
  });
  canvas.addEventListener("pointerup", (event) => {
    const box = canvas.getBoundingClientRect();
    if (drag && !drag.far && drag.button === 0 && reading) {
      viewer.cross = null;
      toggleMark(...viewer.toMillimetres(event.clientX - box.left, event.clientY - box.top));
      draw();
    }
    drag = null;
  });
  canvas.addEventListener("pointercancel", () => { drag = null; });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (!reading || event.deltaY === 0) return;
    if (!event.ctrlKey) {
      const pixels = event.deltaMode === 0 ? event.deltaY : Math.sign(event.deltaY) * NOTCH; // else lines or pages
      turned = Math.sign(turned) === Math.sign(pixels) ? turned + pixels : pixels;
      if (Math.abs(turned) < NOTCH) return;
      turned = 0;
      return scroll(pixels < 0 ? 1 : -1);
    }
    const box = canvas.getBoundingClientRect();
    viewer.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event.clientX - box.left, event.clientY - box.top);
    draw();
  }, { passive: false });
}

function moveCross(dx, dy) {
  const [x, y] = viewer.cross ?? [viewer.view.x, viewer.view.y];
  viewer.cross = [x + dx, y + dy];
  draw();
}

function zoomBy(factor) { viewer.zoom(factor); draw(); }

const KEYS = {
  w: () => scroll(1), s: () => scroll(-1), pageup: () => scroll(1), pagedown: () => scroll(-1),
  c: home, r: countHere, z: undo, x: toggleUnratable, h: toggleMarks, 0: reset, enter: done, p: () => step(-1), n: () => step(1),
  "+": () => zoomBy(1.2), "=": () => zoomBy(1.2), "-": () => zoomBy(1 / 1.2),
};
const HELD = /^(w|s|page.*|arrow.*|[+=-])$/; // keys that go on while they are held; others act once
const ON_IMAGE = {
  arrowleft: (far) => moveCross(far, 0), arrowright: (far) => moveCross(-far, 0),
  arrowup: (far) => moveCross(0, far), arrowdown: (far) => moveCross(0, -far),
  " ": () => viewer.cross && toggleMark(...viewer.cross),
};

function home() { if (reading) { viewer.slice = viewer.sliceAt(reading.level); say(""); draw(); } }
function reset() { viewer.fit(); setWindow(50, 50); }
function toggleMarks() { viewer.showMarks = !viewer.showMarks; draw(); }
function step(by) {
  const position = session.position + by;
  if (position >= 0 && position < session.states.length) go(position);
}

function onKey(event) {
  const key = event.key.toLowerCase(), onImage = document.activeElement === byId("view");
  if (byId("rating").hidden || event.altKey || event.metaKey || (event.ctrlKey && key !== "z")) return;
  // Elsewhere these keys belong to the button or slider that has the focus.
  const handler = (onImage && ON_IMAGE[key]) || (key === "enter" && !onImage ? undefined : KEYS[key]);
  if (!handler || !(reading || key === "p" || key === "n")) return; // a scan that can't be read can be skipped
  event.preventDefault();
  if (!event.repeat || HELD.test(key)) handler(event.shiftKey ? 5 : 0.5);
}

async function start(event) {
  event.preventDefault();
  byId("start-error").hidden = true;
  try {
    Object.assign(session, await (await ask("api/session", { rater: byId("rater").value.trim() })).json());
    const next = session.states.indexOf("open");
    open("rating");
    if (next >= 0) go(next); else finish();
  } catch (error) {
    byId("start-error").textContent = error.message;
    byId("start-error").hidden = false;
  }
}

const BUTTONS = {
  done, undo, unratable: toggleUnratable, previous: () => step(-1), next: () => step(1), home, "count-here": countHere,
  fit: reset, hide: toggleMarks, review: () => go(session.states.length - 1),
};
for (const [id, action] of Object.entries(BUTTONS)) {
  byId(id).addEventListener("click", (event) => {
    if (id !== "done" || event.detail < 2) action(); // a slow double click may reach the next scan
    if (event.detail > 0) byId("view").focus({ preventScroll: true }); // after a mouse click the keys serve the image again
  });
}
byId("slice").addEventListener("input", () => { viewer.slice = Number(byId("slice").value); say(""); draw(); });
for (const id of ["brightness", "contrast"]) {
  byId(id).addEventListener("input", () => setWindow(Number(byId("brightness").value), Number(byId("contrast").value)));
}
byId("start-form").addEventListener("submit", start);
document.addEventListener("keydown", onKey);
new ResizeObserver(() => { if (viewer.fitted) viewer.fit(); draw(); }).observe(byId("stage"));
listenToMouse(byId("view"));
