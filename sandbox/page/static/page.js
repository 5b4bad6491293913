// The page: it draws the state that the server sends, and turns clicks into calls of the control API.

import { icon, list, make, mark, say } from "./dom.js";
import { ACTIONS, SLOTS, STATES, STEPS, device, facts, outcome, sentence, time, timeline, until } from "./parts.js";

const IS_NARROW = window.matchMedia("(max-width: 719px)").matches;
const FEW = IS_NARROW ? 4 : 8;
const FEW_INCIDENTS = IS_NARROW ? 4 : 6;
const $ = (id) => document.getElementById(id);
const LABELS = Object.fromEntries(ACTIONS);
let state = null;
let chosen = null;
let isChosenByHand = false;
const FEWEST = 3;
const LEAST = { shares: FEW, incidents: FEW_INCIDENTS, owed: FEWEST, dead: FEWEST };
const shown = { ...LEAST };

// Calls

async function call(button, method, path, body) {
  if (button?.getAttribute("aria-busy") === "true") return null;
  if (button) mark(button, "aria-busy", "true");
  try {
    const answer = await fetch(path, {
      method,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body ?? {}),
    });
    const document_ = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(document_.error ?? `${path} answered ${answer.status}`);
    say($("failure"), "");
    return document_;
  } catch (error) {
    say($("failure"), error instanceof TypeError ? "The sandbox does not answer. Is it still running?" : error.message);
    return null;
  } finally {
    if (button) mark(button, "aria-busy", null);
  }
}

/** A button of small size, named for people who do not see what stands around it. */
function action(label, about, run) {
  const button = make("button", { type: "button", class: "small" }, label, make("span", { class: "unseen" }, ` ${about}`));
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") run(button);
  });
  return button;
}

function chip(element, tone, word) {
  mark(element, "data-tone", tone);
  say(element, word);
}

function choose(id) {
  chosen = id;
  isChosenByHand = true;
  draw();
  // A click on a title leads to the story, wherever it stands.
  $("timeline-title").focus();
}

function incidents() {
  const found = [...(state.bigpanda.incidents ?? [])];
  // Newest first; an incident that changes stays in its place.
  return found.map((each, place) => [each, place]).sort(([a, m], [b, n]) => b.opened_at - a.opened_at || n - m).map(([each]) => each);
}

function title(id) {
  return (state.bigpanda.incidents ?? []).find((each) => each.id === id)?.title ?? id ?? "an unknown incident";
}

/** A button that chooses an incident. */
function reference(id) {
  return make("button", { type: "button", class: "reference", onclick: () => choose(id) });
}

// BigPanda

function drawBigPanda() {
  const all = incidents();
  $("bigpanda-empty").hidden = all.length > 0;
  const note = $("bigpanda-note");
  note.hidden = !state.bigpanda.is_silent;
  say(note, state.bigpanda.is_silent ? "BigPanda sends nothing now: the relay hears of no change until you switch it back." : "");
  list($("incidents"), all.slice(0, shown.incidents), (each) => each.id, makeIncident, drawIncident);
  drawMore(all.length, "incidents", "older incidents");
}

function makeIncident(incident) {
  const { id } = incident;
  const buttons = make("div", { class: "buttons" });
  for (const names of SLOTS) {
    const button = action("", "", (me) => call(me, "POST", `/bigpanda/live/incidents/${encodeURIComponent(id)}/${me.dataset.action}`));
    button.dataset.slot = names.join(" ");
    buttons.append(button);
  }
  return make(
    "li",
    { class: "card incident" },
    make("div", { class: "row" }, make("span", { class: "chip" }), make("time", { class: "muted" })),
    make("h3", {}, reference(id)),
    make("p", { class: "facts muted" }),
    buttons,
  );
}

function drawIncident(card, incident) {
  const { is_open: isOpen, status } = incident;
  const tones = { critical: "bad", warning: "wait", unknown: "wait", ok: "good" };
  chip(card.querySelector(".chip"), isOpen ? (tones[status] ?? "calm") : "good", isOpen ? status : "resolved");
  drawReference(card.querySelector(".reference"), incident.id);
  say(card.querySelector("time"), time(new Date(incident.changed_at * 1000).toISOString()));
  say(card.querySelector(".facts"), facts(incident));
  mark(card, "data-chosen", incident.id === chosen ? "true" : null);
  for (const button of card.querySelectorAll(".buttons button")) {
    const names = button.dataset.slot.split(" ");
    const name = names.find((each) => incident.can?.includes(each));
    button.dataset.action = name ?? button.dataset.action ?? names[0];
    mark(button, "aria-disabled", name ? null : "true");
    say(button.firstChild, LABELS[button.dataset.action]);
    say(button.querySelector(".unseen"), ` ${incident.title}`);
    // These are seldom possible, so they take no room when they are not.
    button.hidden = !name && ["flap", "share"].includes(names[0]);
  }
}

function drawReference(button, id) {
  say(button, title(id));
  mark(button, "aria-pressed", id === chosen ? "true" : "false");
}

function drawMore(count, name, what) {
  const button = $(`${name}-more`);
  const left = count - shown[name];
  button.hidden = count <= LEAST[name];
  say(button, left > 0 ? `Show ${left} ${what}` : "Show fewer");
}

// Relay

function drawRelay() {
  const { shares = [], owed = [], calls = [], dead_letters: dead = [], dead_letters_total: total = dead.length, problem } = state.relay;
  $("relay-problem").hidden = !problem;
  say($("relay-problem"), problem);
  $("relay-empty").hidden = shares.length > 0 || Boolean(problem);
  $("owed-part").hidden = owed.length === 0;
  const urgent = [...owed].sort((one, other) => other.is_critical - one.is_critical);
  list($("owed"), urgent.slice(0, shown.owed), (each) => `${each.channel} ${each.incident_id}`, makeOwed, drawOwed);
  drawMore(owed.length, "owed", "more that are owed");
  say($("owed-count"), owed.length);
  $("dead-part").hidden = dead.length === 0;
  list($("dead"), dead.slice(0, shown.dead), (each) => each.id, makeDead, drawDead);
  drawMore(dead.length, "dead", "older dead letters");
  say($("dead-count"), total);
  $("calls-part").hidden = calls.length === 0;
  list($("calls"), calls, (each) => `${each.at} ${each.kind} ${each.to}`, makeCall, () => {});
  list($("shares"), shares.slice(0, shown.shares), shareKey, makeShare, drawShare);
  drawMore(shares.length, "shares", "older ones");
}

function shareKey(share) {
  return `${share.at} ${share.kind} ${share.delivery_id} ${share.outcome} ${share.reason}`;
}

function makeShare(share) {
  return make(
    "li",
    { class: "card share" },
    make("div", { class: "row" }, make("span", { class: "chip" }), make("span", { class: "muted change" }), make("time", { class: "muted" })),
    reference(share.incident_id),
    make("p", { class: "why" }),
  );
}

function drawShare(card, share) {
  const [tone, word] = outcome(share);
  chip(card.querySelector(".chip"), tone, word);
  drawReference(card.querySelector(".reference"), share.incident_id);
  say(card.querySelector("time"), time(share.at));
  const change = share.kind !== "chore" && share.transition !== "touched" ? share.transition : null;
  say(card.querySelector(".change"), [change, share.kind === "retry" ? "retry" : null].filter(Boolean).join(", "));
  // The chip says the outcome already.
  const why = share.why ?? "";
  say(card.querySelector(".why"), why.startsWith(`${word}: `) ? sentence(why.slice(word.length + 2)) : why);
  mark(card, "data-chosen", share.incident_id === chosen ? "true" : null);
}

function makeCall(message) {
  const [picture, word] = device(message.kind === "call" ? "VOICE" : "TEXT_PHONE");
  return make(
    "li",
    { class: "card" },
    make("p", { class: "device-head" }, icon(picture), make("strong", {}, `${word} to ${message.to}`), make("time", { class: "muted" }, time(message.at))),
    make("p", { class: "why" }, message.text),
  );
}

function makeOwed(owed) {
  return make(
    "li",
    { class: "card" },
    make("div", { class: "row" }, make("span", { class: "chip" }), make("span", { class: "muted next" })),
    reference(owed.incident_id),
    make("p", { class: "why" }),
  );
}

function drawOwed(card, owed) {
  chip(card.querySelector(".chip"), owed.is_critical ? "bad" : "wait", owed.is_critical ? "critical" : "owed");
  drawReference(card.querySelector(".reference"), owed.incident_id);
  mark(card.querySelector(".next"), "data-until", owed.next_attempt);
  say(card.querySelector(".next"), owed.next_attempt ? next(owed.next_attempt) : "next attempt soon");
  const what = owed.transition ? `${owed.transition}, ` : "";
  const reason = owed.reason ? `: ${owed.reason}` : "";
  say(card.querySelector(".why"), `Owed since ${time(owed.since)} (${what}not announced)${reason}.`);
  mark(card, "data-chosen", owed.incident_id === chosen ? "true" : null);
}

function next(moment) {
  return `next attempt ${until(moment, Date.now())}`;
}

function makeDead(letter) {
  const about = `the dead letter of ${title(letter.incident_id)}`;
  return make(
    "li",
    { class: "card" },
    make("div", { class: "row" }, make("span", { class: "chip" }), make("span", { class: "muted channel" }), make("time", { class: "muted" })),
    reference(letter.incident_id),
    make("p", { class: "why" }),
    make("div", { class: "buttons" }, action("Replay", about, (me) => replay(me, letter.incident_id))),
  );
}

function drawDead(card, letter) {
  const severity = letter.status ?? letter.kind ?? "no job";
  chip(card.querySelector(".chip"), severity === "critical" ? "bad" : "wait", severity);
  say(card.querySelector(".channel"), letter.channel ? `channel ${letter.channel}` : "");
  drawReference(card.querySelector(".reference"), letter.incident_id);
  say(card.querySelector("time"), time(letter.since));
  say(card.querySelector(".why"), `${sentence(letter.reason ?? "the reason is not known")}.`);
  mark(card, "data-chosen", letter.incident_id === chosen ? "true" : null);
}

async function replay(button, id) {
  announce(["The dead letter is being replayed."]);
  const answer = await call(button, "POST", "/page/replay", id ? { incident_id: id } : {});
  if (answer) announce([`Replayed. ${answer.output?.split("\n").pop() ?? ""}`]);
}

// xMatters

function drawPhones() {
  const { people = [], groups = [], notifications = [] } = state.xmatters;
  $("xmatters-empty").hidden = people.length > 0;
  say($("groups"), groups.map(inWords).join(" "));
  const ringing = notifications.filter((each) => each.state === "ringing").length;
  say($("jump-phones"), ringing > 0 ? `Phones (${ringing} ringing)` : "Phones");
  // Whoever is being rung comes first, then the person whose phone rang last.
  const weight = (each) => each.id + (each.state === "ringing" ? 1e9 : 0);
  const newest = (person) => Math.max(0, ...notifications.filter((each) => each.person === person.name).map(weight));
  const sorted = [...people].sort((one, other) => newest(other) - newest(one));
  list($("people"), sorted, (each) => each.name, makePerson, (card, person) => drawPerson(card, person, notifications));
}

function inWords(group) {
  const names = (group.members ?? []).map((member, place) => {
    const minutes = Math.round((member.after_seconds ?? 0) / 60);
    return place === 0 ? `${fullName(member.name)} first` : `${fullName(member.name)} after ${minutes} min`;
  });
  return `${group.name} rings ${names.join(", ") || "nobody"}.`;
}

function fullName(name) {
  return (state.xmatters.people ?? []).find((each) => each.name === name)?.full_name ?? name;
}

function makePerson() {
  return make(
    "li",
    { class: "card person" },
    make("div", { class: "row" }, make("h3"), make("span", { class: "chip" })),
    make("ul", { class: "devices", role: "list" }),
  );
}

function drawPerson(card, person, notifications) {
  const mine = notifications.filter((each) => each.person === person.name);
  say(card.querySelector("h3"), person.full_name || person.name);
  const isRinging = mine.some((each) => each.state === "ringing");
  const isActive = person.status === undefined || person.status === "ACTIVE";
  chip(card.querySelector(".chip"), isRinging ? "wait" : "calm", isRinging ? "being rung" : isActive ? "quiet" : "inactive");
  list(card.querySelector(".devices"), person.devices ?? [], (each) => each.name, makeDevice, (item, each) =>
    drawDevice(item, each, person, mine.filter((one) => one.device === each.name)),
  );
}

function makeDevice(each) {
  return make(
    "li",
    { class: "device" },
    make("p", { class: "device-head" }, icon(device(each.kind)[0]), make("strong"), make("span", { class: "muted state" })),
    make("ul", { class: "notices", role: "list" }),
  );
}

function drawDevice(item, each, person, told) {
  const [, word] = device(each.kind);
  say(item.querySelector("strong"), each.name);
  // The notifications that ring on the device; without any, its newest one.
  const ringing = told.filter((one) => one.state === "ringing");
  const newest = told.reduce((one, other) => (one && one.id > other.id ? one : other), null);
  const notices = ringing.length > 0 ? ringing.sort((one, other) => other.id - one.id) : newest ? [newest] : [];
  const delay = each.delay_seconds ? `rings after ${Math.round(each.delay_seconds / 60) || "<1"} min` : word;
  say(item.querySelector(".state"), ringing.length > 0 ? `${word}, ringing` : told.length > 0 ? word : delay);
  mark(item, "data-state", ringing.length > 0 ? "ringing" : "quiet");
  list(item.querySelector(".notices"), notices, (one) => one.id, () => makeNotice(), (notice, one) => drawNotice(notice, one, person));
}

function makeNotice() {
  return make(
    "li",
    { class: "notice", tabindex: "-1" },
    make("p", { class: "told" }),
    make("p", { class: "muted about" }),
    make("div", { class: "buttons answers" }),
  );
}

function drawNotice(item, notice, person) {
  mark(item, "data-state", notice.state);
  mark(item, "data-chosen", notice.incident_id && notice.incident_id === chosen ? "true" : null);
  say(item.querySelector(".told"), notice.text);
  const from = [time(notice.at), `page ${notice.page}`, notice.group ? `for ${notice.group}` : ""].filter(Boolean).join(" · ");
  const ends = { answered: notice.answer ? `answered ${notice.answer}` : "answered", over: "over, no answer needed", failed: "never arrived" };
  say(item.querySelector(".about"), [from, ends[notice.state]].filter(Boolean).join(" · "));
  const answers = item.querySelector(".answers");
  const had = answers.contains(document.activeElement);
  const responses = notice.state === "ringing" ? (notice.responses ?? []) : [];
  const about = `page ${notice.page} on ${person.full_name || person.name}'s ${notice.device}`;
  list(answers, responses, (each) => each, (each) => makeAnswer(each, about, notice.id), () => {});
  if (had && responses.length === 0) item.focus({ preventScroll: true });
}

function makeAnswer(response, about, id) {
  const button = action(response, about, (me) => answer(me, id, response));
  if (response === "Acknowledge") button.classList.add("primary");
  return button;
}

async function answer(button, notification, response) {
  const comment = $("comment").value.trim();
  const done = await call(button, "POST", "/phones/answer", { notification, response, ...(comment && { comment }) });
  if (done) $("comment").value = "";
}

// Story of one incident

function drawTimeline() {
  const events = chosen ? timeline(state, chosen) : [];
  $("back").hidden = !chosen;
  say($("timeline-title"), chosen ? title(chosen) : "One incident's story");
  const hint = "Choose an incident: its whole story stands here, from BigPanda through the relay to the phones and back.";
  const count = events.length === 1 ? "1 step" : `${events.length} steps`;
  say($("timeline-about"), chosen ? `One incident's story, ${count}, oldest first.` : hint);
  drawReceipt();
  list($("timeline"), events, (each) => `${each.at} ${each.where} ${each.text} ${each.place}`, makeEvent, () => {});
}

/** The receipt of a critical: signal, page, notified, answered; and the step of which the fallback topic was notified. */
function drawReceipt() {
  const found = (state.relay.receipts ?? []).find((each) => each.incident_id === chosen);
  $("receipt").hidden = !found;
  list($("receipt"), found?.steps ?? [], (each) => each.name, makeStep, drawStep);
  $("unheard").hidden = !found?.unheard;
  const told = found?.told_at ? `was notified at ${time(found.told_at)}` : "is notified next";
  say($("unheard"), found?.unheard ? `Unheard: ${found.unheard}. The fallback topic ${told}.` : "");
}

function makeStep(step) {
  return make("li", {}, make("strong", {}, STEPS[step.name] ?? step.name), make("span"));
}

function drawStep(item, step) {
  mark(item, "data-state", step.state);
  const done = [time(step.at), step.by ? `by ${fullName(step.by)}` : ""].filter(Boolean).join(" ");
  say(item.querySelector("span"), step.state === "done" ? done || "proven" : STATES[step.state]);
}

function makeEvent(event) {
  const item = make("li", { class: "event", "data-where": event.where, "data-tone": event.tone });
  item.append(make("time", { class: "muted" }, time(event.at)), make("strong", {}, event.where), make("span", {}, event.text));
  return item;
}

// What if…

function drawTrouble() {
  const { xmatters = "normal", denied = [] } = state.faults;
  const mode = state.xmatters.flow?.mode ?? "page";
  drawSelect($("xmatters-answers"), xmatters);
  drawSelect($("flow-mode"), mode);
  for (const box of document.querySelectorAll("[data-service]")) {
    box.checked = denied.includes(box.dataset.service);
    box.disabled = !state.relay.is_there;
  }
  $("bigpanda-silent").checked = Boolean(state.bigpanda.is_silent);
  $("bigpanda-elsewhere").checked = Boolean(state.bigpanda.is_elsewhere);
  const ahead = state.xmatters.clock?.ahead_seconds ?? 0;
  const minutes = Math.round(ahead / 60);
  say($("clock"), ahead > 0 ? `${minutes} min ahead` : "on time");
  const wrong = [];
  if (xmatters !== "normal") wrong.push(`xMatters ${$("xmatters-answers").selectedOptions[0]?.text ?? "fails"}`);
  if (mode !== "page") wrong.push(`pages ${$("flow-mode").selectedOptions[0]?.text ?? "fail"}`);
  if (state.bigpanda.is_silent) wrong.push("BigPanda sends nothing");
  if (state.bigpanda.is_elsewhere) wrong.push("BigPanda shares with another team");
  if (denied.length > 0) wrong.push("AWS denies the relay a service");
  if (ahead > 0) wrong.push(`xMatters' clock is ${minutes} min ahead`);
  say($("trouble-sum"), wrong.join("; ") || "everything works, and the clock is on time");
  mark($("trouble"), "data-wrong", wrong.length > 0 ? "true" : null);
}

/** Set a select to the sandbox's value, unless a person is choosing another one. */
function drawSelect(select, value) {
  if (document.activeElement !== select || select.dataset.sent === value) select.value = value;
}

function connectSelect(select, path, name) {
  select.addEventListener("change", () => {
    select.dataset.sent = select.value;
    call(select, "PUT", path, { [name]: select.value });
  });
}

function connectTrouble() {
  connectSelect($("xmatters-answers"), "/page/faults", "xmatters");
  connectSelect($("flow-mode"), "/flow", "mode");
  for (const box of document.querySelectorAll("[data-service]")) {
    box.addEventListener("change", () => {
      const denied = [...document.querySelectorAll("[data-service]:checked")].map((each) => each.dataset.service);
      call(box, "PUT", "/page/faults", { denied });
    });
  }
  $("bigpanda-silent").addEventListener("change", (event) =>
    call(event.target, "PUT", "/bigpanda/live/silent", { silent: event.target.checked }),
  );
  $("bigpanda-elsewhere").addEventListener("change", (event) =>
    call(event.target, "PUT", "/bigpanda/live/elsewhere", { elsewhere: event.target.checked }),
  );
  for (const button of document.querySelectorAll("[data-turn]")) {
    button.addEventListener("click", () => call(button, "POST", "/clock", { seconds: Number(button.dataset.turn) }));
  }
  if (IS_NARROW) $("trouble-details").open = false;
}

// Announcements: a few words for people who do not see what changed.

let announcing = 0;

function announce(news) {
  if (news.length === 0) return;
  const more = news.length > 2 ? ` And ${news.length - 2} more.` : "";
  clearTimeout(announcing);
  announcing = setTimeout(() => say($("announcer"), news.slice(0, 2).join(" ") + more), 100);
}

function news(before, after) {
  if (!before) return [];
  const found = [];
  const rang = new Set((before.xmatters.notifications ?? []).map((each) => each.id));
  for (const each of after.xmatters.notifications ?? []) {
    if (!rang.has(each.id) && each.state === "ringing") found.push(`${fullName(each.person)}'s ${each.device} rings.`);
  }
  const were = new Map((before.bigpanda.incidents ?? []).map((each) => [each.id, each]));
  for (const each of after.bigpanda.incidents ?? []) {
    const was = were.get(each.id);
    if (was && was.is_open && !each.is_open) found.push(`${each.title} is resolved.`);
    else if (was && was.status !== each.status) found.push(`${each.title} is ${each.status}.`);
  }
  const dead = (after.relay.dead_letters_total ?? 0) - (before.relay.dead_letters_total ?? 0);
  if (dead > 0) found.push("A signal was dead-lettered.");
  if (after.relay.calls?.[0]?.at !== before.relay.calls?.[0]?.at) found.push("A phone is called as the last resort.");
  return found;
}

// State

function draw() {
  if (!state) return;
  if (!isChosenByHand) chosen = incidents()[0]?.id ?? null;
  drawBigPanda();
  drawRelay();
  drawPhones();
  drawTimeline();
  drawTrouble();
}

function receive(text) {
  const before = state;
  const { bigpanda, relay, xmatters, faults } = JSON.parse(text);
  state = { bigpanda: bigpanda ?? {}, relay: relay ?? {}, xmatters: xmatters ?? {}, faults: faults ?? {} };
  draw();
  announce(news(before, state));
}

function connection(name, text) {
  mark($("connection"), "data-state", name);
  say($("connection").querySelector("[data-text]"), text);
}

function connect() {
  const source = new EventSource("/page/events");
  source.addEventListener("open", () => connection("live", "Live"));
  source.addEventListener("message", (event) => receive(event.data));
  // The browser connects again by itself.
  source.addEventListener("error", () => connection("lost", "Not connected; trying again"));
}

function connectForms() {
  $("open").addEventListener("submit", async (event) => {
    event.preventDefault();
    const name = $("open-title").value.trim();
    const wanted = { status: $("open-status").value, ...(name ? { title: name } : {}) };
    const opened = await call(event.submitter, "POST", "/bigpanda/live/incidents", wanted);
    if (!opened) return;
    $("open-title").value = "";
    if (opened.id) chosen = opened.id;
    announce([`${opened.title ?? "The incident"} is open.`]);
  });
  $("back").addEventListener("click", () => $("incidents").querySelector("[aria-pressed=true]")?.focus());
  for (const name of Object.keys(LEAST)) $(`${name}-more`).addEventListener("click", () => more(name));
}

function more(name) {
  shown[name] = shown[name] > LEAST[name] ? LEAST[name] : Infinity;
  draw();
}

connectForms();
connectTrouble();
connect();
setInterval(() => {
  for (const each of document.querySelectorAll("[data-until]")) say(each, next(each.dataset.until));
}, 1000);
