"use strict";
// The page: what the WebSocket says is drawn, once a second, and nothing is ever sent but who one is.
// Texts come from databases and errors: they only ever become text nodes.

const SHOWN = 10;            // tables of a pipeline, until somebody wants all
const HISTORY = 40;          // points of a spark line
const KEPT = "firn.token";   // of this tab's session storage

const byId = (id) => document.getElementById(id);
const pipelines = new Map(); // id → what was said last
const rates = new Map();     // id, or id and unit → {changes, at, rate, history}
const cards = new Map();     // id → its elements
const wide = new Set();      // ids whose tables are all shown
let socket = null, wait = 500, clockSkew = 0, works = true, known = false, heard = 0, user = "", version = "", token = null;

// ---------- words ----------

function element(name, options = {}, ...children) {
  const svg = options.svg;
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (key === "text") made.textContent = value;
    else if (key !== "svg") made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

const decimals = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

function short(value) {
  for (const [size, letter] of [[1e9, "B"], [1e6, "M"], [1e4, "k"]])
    if (value >= size) return decimals.format(value / (letter === "k" ? 1e3 : size)) + " " + letter;
  return whole.format(value);
}

function bytes(value) {
  if (value === undefined) return "–";
  for (const [size, unit] of [[2 ** 40, "TiB"], [2 ** 30, "GiB"], [2 ** 20, "MiB"], [2 ** 10, "KiB"]])
    if (value >= size) return decimals.format(value / size) + " " + unit;
  return whole.format(value) + " B";
}

function time(ms) {
  if (ms === undefined || Number.isNaN(ms)) return "–";
  const s = Math.max(0, ms) / 1000;
  if (s < 10) return decimals.format(s) + " s";
  for (const [size, unit] of [[2 * 86400, "d"], [2 * 3600, "h"], [120, "min"]])
    if (s >= size) return whole.format(s / { d: 86400, h: 3600, min: 60 }[unit]) + " " + unit;
  return whole.format(s) + " s";
}

// A source's log is measured in bytes, a topic in records.
const lagOf = (live) => (live.lag === undefined && live.lagRecords !== undefined ? short(live.lagRecords) + " rec." : bytes(live.lag));
const perSecond = (rate) => (rate === undefined ? "–" : rate > 0 && rate < 10 ? decimals.format(rate) : short(rate)) + "/s";
const now = () => Date.now() + clockSkew;

// ---------- what it means ----------

const PHASES = { Streaming: "well", CatchingUp: "busy", Snapshotting: "busy", Pending: "busy", Paused: "still", Stopped: "still",
  Retrying: "warn", Stalled: "bad", Unknown: "warn", Draining: "busy" };
const WORSE = ["well", "still", "busy", "warn", "bad"];
const worst = (a, b) => (WORSE.indexOf(a) >= WORSE.indexOf(b) ? a : b);

// What an agent says now is newer than the status, where it speaks of a process that is there.
function phaseOf(thing, live) {
  const own = thing.phase || "Unknown";
  if (thing.stalled || thing.ready === "Unknown" || !live || live.heard !== undefined) return own;
  return own === "Stopped" || own === "Stalled" ? own : live.phase || own;
}

function moodOf(thing, phase) {
  if (thing.stalled) return "bad";
  let mood = PHASES[phase] || "busy";
  if (thing.ready === "False" && mood === "well") mood = "warn";
  if (thing.ready === "Unknown" && thing.reason === "AgentSilent") mood = "warn";
  for (const one of thing.warnings || []) mood = worst(mood, one.reason === "LogLost" || one.reason === "LogAtRisk" ? "bad" : "warn");
  return mood;
}

function freshOf(table, pipeline) {
  const process = table.process || pipeline.live;
  if (process && process.heard === undefined && process.freshness !== undefined && process.phase !== "Snapshotting") return process.freshness;
  return table.freshAt ? now() - Date.parse(table.freshAt) : undefined;
}

// Changes a second, from two of an agent's counts; kept over the seconds between.
function measure(key, changes, at) {
  if (changes === undefined) return undefined;
  const last = rates.get(key);
  if (!last || changes < last.changes) {
    rates.set(key, { changes, at, rate: undefined, history: [] });
    return undefined;
  }
  const seconds = (at - last.at) / 1000;
  // an agent says once a second at most what is new: one second without a word is no standstill
  if (changes > last.changes ? seconds >= 0.9 : seconds >= 3) {
    last.rate = (changes - last.changes) / seconds;
    last.history.push(last.rate);
    if (last.history.length > HISTORY) last.history.shift();
    last.changes = changes;
    last.at = at;
  }
  return last.rate;
}

function readPipeline(pipeline) {
  const tables = pipeline.tables.map((table) => {
    const live = table.live || {};
    const rate = measure(pipeline.id + " " + table.unit, live.changes, now());
    const copying = live.copying > 0;
    const process = phaseOf(table, table.process || pipeline.live);
    const waits = process === "Snapshotting" && live.copying === 0; // for others that are copied
    const phase = copying ? "Snapshotting" : waits ? "Streaming" : process;
    const fresh = freshOf(table, pipeline);
    const late = table.promised !== undefined && fresh > table.promised;
    const mood = waits && !table.stalled ? "well" : moodOf(table, phase);
    return { table, live, rate, copying, phase, fresh, late, mood: worst(mood, late ? "warn" : "well") };
  });
  const phase = phaseOf(pipeline, pipeline.live);
  let mood = moodOf(pipeline, phase), rate;
  for (const one of tables) {
    mood = worst(mood, one.mood);
    if (one.rate !== undefined) rate = (rate || 0) + one.rate;
  }
  tables.sort((a, b) => WORSE.indexOf(b.mood) - WORSE.indexOf(a.mood) || a.table.unit.localeCompare(b.table.unit));
  return { pipeline, tables, phase, mood, rate };
}

// ---------- drawing ----------

function chip(mood, text) { return element("span", { class: "chip " + mood, text }); }

function setText(to, text) { if (to.textContent !== text) to.textContent = text; }
function setClass(to, text) { if (to.getAttribute("class") !== text) to.setAttribute("class", text); }

function makeCard(id) {
  const drops = element("line", { svg: true, class: "drops", x1: 4, x2: 132, y1: 7, y2: 7 });
  const stream = element("svg", { svg: true, class: "stream", viewBox: "0 0 140 14", preserveAspectRatio: "none", "aria-hidden": "true" },
    element("line", { svg: true, x1: 4, x2: 132, y1: 7, y2: 7 }), drops, element("path", { svg: true, d: "M131 1 L140 7 L131 13 Z" }));
  const card = {
    root: element("article", { class: "pipeline", "data-id": id }), words: element("div"), source: element("div", { class: "source" }),
    rate: element("div", { class: "rate number" }), below: element("div", { class: "quiet" }), topic: element("div", { class: "topic", text: "Kafka topics" }),
    stream, drops, tables: element("div", { class: "right" }), pace: "", sourceText: "", tablesText: "", wordsText: "",
  };
  card.root.append(card.words, element("div", { class: "way" }, card.source,
    element("div", { class: "river" }, card.rate, stream, card.topic, card.below), card.tables));
  cards.set(id, card);
  return card;
}

function drawWords(card, view) {
  const lines = [];
  const add = (mood, reason, message, of) => { if (reason || message) lines.push([mood, (of ? of + ": " : "") + (reason || ""), message || ""]); };
  const { pipeline } = view;
  const live = pipeline.live || {};
  if (live.error) add(pipeline.stalled ? "bad" : "warn", pipeline.reason, live.error);
  else if (pipeline.stalled || pipeline.reason === "AgentSilent" || (pipeline.ready === "False" && view.phase !== "Snapshotting"))
    add(pipeline.stalled ? "bad" : "warn", pipeline.reason, pipeline.message);
  for (const one of pipeline.warnings || []) add(/Lost|AtRisk/.test(one.reason) ? "bad" : "warn", one.reason, one.message);
  const text = JSON.stringify(lines);
  if (text === card.wordsText) return;
  card.wordsText = text;
  card.words.replaceChildren(...lines.map(([mood, reason, message]) =>
    element("p", { class: "words " + mood }, element("b", { text: reason }), document.createTextNode(message))));
}

function headroom(live) {
  if (live.logStatus === undefined) return null;
  const kept = live.logRetained || 0, left = live.logHeadroom;
  const part = left === undefined ? 0 : kept / Math.max(1, kept + left);
  const mood = live.logStatus >= 3 ? "bad" : (left !== undefined && part > 0.8) || live.logSeconds < 3600 ? "warn" : "well";
  const bar = element("div", { class: "bar " + mood, role: "img", "aria-label": "log that is kept" }, element("i"));
  bar.firstChild.style.width = Math.max(2, Math.round(100 * (left === undefined ? 0.02 : part))) + "%";
  const words = live.logStatus >= 4 ? "Log lost" : left === undefined ? "Log " + bytes(kept) + ", no limit"
    : "Log " + bytes(kept) + ", " + bytes(left) + " left" + (live.logSeconds !== undefined ? " (" + time(live.logSeconds * 1000) + ")" : "");
  return element("div", { class: "head" }, element("span", { class: "quiet", text: words }), bar);
}

function drawSource(card, view) {
  const { pipeline, phase, mood } = view;
  const live = pipeline.live || {}, source = pipeline.source;
  const host = Array.isArray(source.host) ? source.host.join(", ") : source.host;
  const place = [source.type, source.database].filter(Boolean).join(" · ");
  const facts = [["Lag", lagOf(live)], ["Oldest", time(live.freshness)]];
  if (live.memory !== undefined) facts.push(["Memory", bytes(live.memory)]);
  if (live.restarts > 0) facts.push(["Tried again", whole.format(live.restarts)]);
  if (live.deadLetters > 0) facts.push(["Dead letters", whole.format(live.deadLetters)]);
  const own = pipeline.stalled ? "bad" : worst(PHASES[phase] || "busy", mood === "bad" && pipeline.warnings ? "bad" : "well");
  const text = JSON.stringify([place, host, facts, own, phase, live.logStatus, live.logRetained, live.logHeadroom, live.logSeconds]);
  if (text === card.sourceText) return;
  card.sourceText = text;
  const list = element("dl");
  for (const [name, value] of facts)
    list.append(element("div", {}, element("dt", { text: name }), element("dd", { class: "number", text: value })));
  const head = headroom(live);
  card.source.replaceChildren(element("div", { class: "title" }, element("h2", { text: pipeline.name }), chip(own, phase)),
    element("div", { class: "place" }, element("div", { text: place }), ...(host ? [element("div", { text: host })] : []),
      element("div", { text: "namespace " + pipeline.namespace })), list, ...(head ? [head] : []));
}

function drawRiver(card, view) {
  const { rate, pipeline } = view;
  const flows = rate > 0;
  setText(card.rate, perSecond(rate));
  const copies = view.tables.filter((one) => one.copying).length;
  setText(card.below, copies ? "copying " + copies + (copies === 1 ? " table" : " tables") : "changes");
  card.topic.hidden = !pipeline.topics;
  // from a drop every few seconds to a torrent: by the rate's order of magnitude
  const pace = flows || copies ? (2.6 / (1 + Math.log10(1 + (rate || 50)))).toFixed(1) + "s" : "";
  setClass(card.drops, "drops" + (pace ? "" : " dry"));
  setClass(card.stream, "stream" + (pace ? "" : " dry"));
  if (pace !== card.pace) { // another pace begins the animation anew: only when it is another
    card.pace = pace;
    card.stream.style.setProperty("--pace", pace || "0s");
  }
}

function spark(history) {
  const top = Math.max(...history, 1e-9);
  const from = HISTORY - history.length; // the latest stands at the right
  const points = history.map((one, i) => `${(((from + i) * 76) / (HISTORY - 1)).toFixed(1)},${(19 - (18 * one) / top).toFixed(1)}`).join(" ");
  return element("svg", { svg: true, class: "spark", viewBox: "0 0 76 20", "aria-hidden": "true" }, element("polyline", { svg: true, points }));
}

function drawTable(view, one) {
  const { table, live, phase, mood, copying, rate, fresh, late } = one;
  const name = element("td", { class: "name", text: table.table || table.unit });
  const short_ = table.lakeTable || table.unit;
  const behind = (table.process || {}).lagRecords;
  if (table.table && !table.table.endsWith("." + short_)) name.append(element("small", { text: "→ " + short_ }));
  const troubled = table.stalled || table.ready === "False" && !copying;
  const same = table.message && view.pipeline.message && table.message.endsWith(view.pipeline.message);
  if (troubled && table.message && !same) name.append(element("small", { class: "why", text: table.reason + ": " + table.message }));
  for (const warning of (table.warnings || []).filter((other) => other.type !== "Fresh")) name.append(element("small", { class: "why", text: warning.reason + ": " + warning.message }));
  if (behind > 0) name.append(element("small", { text: short(behind) + " records behind" }));
  if (copying && live.toCopy > 0) {
    const bar = element("div", { class: "bar busy" }, element("i"));
    bar.firstChild.style.width = Math.min(100, Math.round((100 * (live.copied || 0)) / live.toCopy)) + "%";
    name.append(element("small", { text: short(live.copied || 0) + " of about " + short(live.toCopy) + " rows" }), bar);
  }
  const flow = element("td", { class: "flow number", text: perSecond(rate) });
  const history = (rates.get(view.pipeline.id + " " + table.unit) || { history: [] }).history;
  flow.append(history.length > 1 ? spark(history) : element("svg", { svg: true, class: "spark" }));
  const rows = live.rows !== undefined ? live.rows : table.rows;
  return element("tr", { "data-unit": table.unit }, name, element("td", { class: "rows number", text: rows === undefined ? "–" : whole.format(rows) }), flow,
    element("td", { class: "fresh number" + (late ? " late" : ""), text: fresh === undefined ? "–" : time(fresh) + (late ? ", late" : "") }),
    element("td", { class: "state" }, chip(mood, phase)));
}

function drawTables(card, view) {
  const all = wide.has(view.pipeline.id) ? view.tables : view.tables.slice(0, SHOWN);
  const text = JSON.stringify(all.map((one) => [one.table, one.live, one.rate, one.phase, one.mood, time(one.fresh)])) + view.tables.length;
  if (text === card.tablesText) return;
  card.tablesText = text;
  if (!view.tables.length) {
    card.tables.replaceChildren(element("p", { class: "empty", text: "No table yet." }));
    return;
  }
  const body = element("tbody", {}, ...all.map((one) => drawTable(view, one)));
  const head = element("thead", {}, element("tr", {}, ...["Table", "Rows", "Changes", "Oldest change", ""].map((one) => element("th", { scope: "col", text: one }))));
  const parts = [element("table", { class: "tables" }, head, body)];
  if (view.tables.length > SHOWN) {
    const open = wide.has(view.pipeline.id);
    const more = element("button", { class: "more", type: "button", text: open ? "Fewer" : `All ${view.tables.length} tables` });
    more.addEventListener("click", () => { wide[open ? "delete" : "add"](view.pipeline.id); draw(); });
    parts.push(more);
  }
  card.tables.replaceChildren(...parts);
}

function matches(view, words) {
  const { pipeline } = view;
  const text = [pipeline.id, pipeline.phase, pipeline.reason, ...view.tables.flatMap((one) => [one.table.unit, one.table.table, one.table.reason, one.phase])].join(" ");
  return text.toLowerCase().includes(words);
}

function drawSums(views) {
  let tables = 0, rate, lag = 0, age, bad = 0, warn = 0, busy = 0;
  for (const view of views) {
    tables += view.tables.length;
    if (view.rate !== undefined) rate = (rate || 0) + view.rate;
    lag += (view.pipeline.live || {}).lag || 0;
    const fresh = (view.pipeline.live || {}).freshness;
    if (fresh !== undefined) age = Math.max(age || 0, fresh);
    bad += view.mood === "bad";
    warn += view.mood === "warn";
    busy += view.mood === "busy";
  }
  setText(byId("sum-pipelines"), whole.format(views.length));
  setText(byId("sum-tables"), whole.format(tables));
  setText(byId("sum-rate"), perSecond(rate));
  setText(byId("sum-lag"), bytes(lag));
  setText(byId("sum-age"), time(age));
  const silent = known && Date.now() - heard > 25000;
  const verdict = byId("verdict");
  const needs = bad + warn;
  setClass(verdict, silent ? "warn" : bad ? "bad" : warn ? "warn" : busy ? "busy" : "well");
  setText(verdict, !known ? "" : silent ? "The operator is not heard" : needs ? `${needs} of ${views.length} need${needs === 1 ? "s" : ""} attention`
    : !views.length ? "Nothing runs here" : busy ? `All well, ${busy} on ${busy === 1 ? "its" : "their"} way` : "All well");
  document.title = needs ? `(${needs}) Firn` : "Firn";
}

function draw() {
  const words = byId("filter").value.trim().toLowerCase(), troubled = byId("troubled").checked;
  const views = [...pipelines.values()].map(readPipeline);
  views.sort((a, b) => WORSE.indexOf(b.mood) - WORSE.indexOf(a.mood) || a.pipeline.id.localeCompare(b.pipeline.id));
  const list = byId("pipelines");
  const shown = views.filter((one) => (!troubled || one.mood === "bad" || one.mood === "warn") && (!words || matches(one, words)));
  const wanted = [];
  for (const view of shown) {
    const card = cards.get(view.pipeline.id) || makeCard(view.pipeline.id);
    setClass(card.root, "pipeline is-" + view.mood);
    drawWords(card, view);
    drawSource(card, view);
    drawRiver(card, view);
    drawTables(card, view);
    wanted.push(card.root);
  }
  for (const [id] of cards) if (!pipelines.has(id)) cards.delete(id);
  if (list.children.length !== wanted.length || wanted.some((one, i) => list.children[i] !== one)) list.replaceChildren(...wanted);
  const none = byId("none");
  none.hidden = shown.length > 0 || !known;
  setText(none, pipelines.size ? "Nothing of that kind." : "There is no Connector and no IngestionUnit that you may see.");
  drawSums(views);
  const note = byId("note");
  note.hidden = works || !known;
  setText(note, "This replica of the operator stands by: agents report to another one, and what is shown are the resources' statuses, up to a minute old.");
}

// ---------- who one is ----------

const REASONS = {
  TokenRefused: "The API server does not know this token, or not any more.",
  Forbidden: "You may not list Connectors and IngestionUnits in any namespace: ask for that right.",
  NotNow: "The API server could not be asked. Try again.",
  TooMany: "Too many look on already.",
};

function ask(why) {
  token = null;
  sessionStorage.removeItem(KEPT);
  known = false;
  pipelines.clear();
  byId("main").hidden = byId("sums").hidden = true;
  byId("login").hidden = false;
  byId("refused").hidden = !why;
  setText(byId("refused"), why || "");
  setText(byId("foot"), "");
  draw();
  byId("token").focus();
}

function welcome(word) {
  user = word.user || "";
  version = word.version || "";
  if (token) sessionStorage.setItem(KEPT, token);
  byId("token").value = "";
  byId("login").hidden = true;
  byId("main").hidden = byId("sums").hidden = false;
  const leave = element("button", { type: "button", text: "Leave" });
  leave.addEventListener("click", () => { if (socket) socket.close(); ask(""); });
  byId("foot").replaceChildren(element("span", { text: `${user} · Firn ${version}` }), ...(token ? [leave] : []));
}

function take(word) {
  heard = Date.now();
  wait = 500;
  if (word.welcome) return welcome(word.welcome);
  clockSkew = word.now - Date.now();
  works = word.works;
  known = true;
  if (word.whole) pipelines.clear();
  for (const one of word.pipelines) pipelines.set(one.id, one);
  for (const id of word.gone) pipelines.delete(id);
  draw();
}

function connect() {
  const own = new WebSocket((location.protocol === "https:" ? "wss://" : "ws://") + location.host + "/live", "firn.page");
  socket = own;
  own.addEventListener("open", () => own.send(JSON.stringify(token ? { token } : {})));
  own.addEventListener("message", (event) => { if (own === socket) take(JSON.parse(event.data)); });
  own.addEventListener("close", (event) => {
    if (own !== socket) return;
    socket = null;
    if (event.reason === "TokenWanted") return ask("");
    if (event.reason === "TokenRefused" || event.reason === "Forbidden") return ask(REASONS[event.reason]);
    if (!byId("login").hidden && event.reason) return ask(REASONS[event.reason] || event.reason);
    setTimeout(() => { if (!socket && byId("login").hidden) connect(); }, wait);
    wait = Math.min(wait * 2, 10000);
  });
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value.trim();
  byId("refused").hidden = true;
  if (socket) { const old = socket; socket = null; old.close(); }
  connect();
});
byId("filter").addEventListener("input", draw);
byId("troubled").addEventListener("change", draw);
setInterval(draw, 1000);
token = sessionStorage.getItem(KEPT);
connect();
