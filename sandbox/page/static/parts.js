// Words of the page: what states, outcomes and devices are called, times, and one incident's timeline.

const TIME = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const ACTIONS = [
  ["worsen", "Worsen"],
  ["ease", "Ease"],
  ["gain_alert", "Add alert"],
  ["snooze", "Snooze"],
  ["unsnooze", "End snooze"],
  ["flap", "Flap"],
  ["calm", "End flapping"],
  ["share", "Share"],
  ["resolve", "Resolve"],
  ["reopen", "Reopen"],
];
// Buttons of an incident, in order. Two actions in one entry share a button, since only one is possible at a time.
export const SLOTS = [["worsen"], ["ease"], ["gain_alert"], ["snooze", "unsnooze"], ["flap", "calm"], ["share"], ["resolve", "reopen"]];

export const OUTCOMES = {
  delivered: ["good", "Signalled"],
  queued: ["wait", "Owed"],
  dead_lettered: ["bad", "Dead-lettered"],
  duplicate: ["calm", "Copy"],
  superseded: ["calm", "Superseded"],
  unchanged: ["calm", "No signal"],
  shadowed: ["calm", "Shadow mode"],
  unsafe: ["bad", "Not kept"],
};
// Steps of a critical's receipt, and the states of a step that is not done.
export const STEPS = { signal: "Signal", page: "Page", notified: "Notified", answered: "Answered" };
export const STATES = { awaited: "awaited", missed: "missed", open: "not awaited" };
const DONE = { answer: ["good", "Answer"], chore: ["good", "Done"] };
const DEVICES = { EMAIL: ["email", "E-mail"], VOICE: ["voice", "Voice call"], TEXT_PHONE: ["sms", "SMS"] };

/** The tone (its colour) and the label of a share, retry, chore or answer. */
export function outcome(share) {
  const found = OUTCOMES[share.outcome] ?? ["calm", share.outcome ?? "Unknown"];
  const isFailure = found[0] === "bad" || (share.kind === "chore" && share.outcome === "queued");
  return isFailure ? found : (DONE[share.kind] ?? found);
}

/** The icon and the label of a kind of device. */
export function device(kind) {
  return DEVICES[kind] ?? (/PUSH/.test(kind ?? "") ? ["push", "Push"] : ["push", kind ?? "Device"]);
}

/** A time of day; "" for none. */
export function time(text) {
  const moment = new Date(text ?? "");
  return Number.isNaN(moment.getTime()) ? "" : TIME.format(moment);
}

/** A clause as a sentence: a capital letter first, except in a name that has none. */
export function sentence(clause) {
  const text = clause ?? "";
  return /^xMatters/.test(text) ? text : text.charAt(0).toUpperCase() + text.slice(1);
}

/** The time from now to a moment, in words. */
export function until(text, now) {
  const seconds = Math.round((new Date(text).getTime() - now) / 1000);
  if (Number.isNaN(seconds)) return "";
  if (seconds <= 0) return "now";
  return seconds < 90 ? `in ${seconds} s` : `in ${Math.round(seconds / 60)} min`;
}

/** The facts about an incident, in words. */
export function facts(incident) {
  const found = incident.is_open ? ["open"] : [];
  const alerts = incident.alerts?.length ?? 0;
  found.push(alerts === 1 ? "1 alert" : `${alerts} alerts`);
  if (incident.snoozed_until) found.push(`snoozed until ${time(new Date(incident.snoozed_until * 1000).toISOString())}`);
  if (incident.is_flapping) found.push("flapping");
  found.push(incident.is_shared ? "shared with the relay" : "not shared");
  if (incident.assignee) found.push(`assigned to ${incident.assignee}`);
  return found.join(" · ");
}

/** Everything that happened to an incident, in order: where, when and what. */
export function timeline(state, id) {
  const events = [];
  const add = (at, where, text, tone = "calm") => at && text && events.push({ at, where, text, tone });
  const { bigpanda = {}, relay = {}, xmatters = {} } = state;
  const incident = (bigpanda.incidents ?? []).find((each) => each.id === id);
  for (const each of incident?.log ?? []) add(each.at, "BigPanda", each.text);
  for (const each of bigpanda.webhooks ?? []) {
    if (each.incident_id === id && !(each.status >= 200 && each.status < 300)) {
      add(each.at, "BigPanda", each.status ? `The relay answered ${each.status}.` : "The relay did not answer.", "bad");
    }
  }
  for (const each of relay.shares ?? []) {
    if (each.incident_id === id) add(each.at, "Relay", each.why, outcome(each)[0]);
  }
  const pages = (xmatters.pages ?? []).filter((each) => each.incident_id === id);
  for (const page of pages) {
    // A number only where it is needed to tell pages apart.
    const prefix = (text) => (pages.length > 1 && !text?.includes(page.number) ? `Page ${page.number}: ` : "");
    for (const each of page.log ?? []) add(each.at, "xMatters", prefix(each.text) + each.text);
  }
  for (const each of xmatters.without_page ?? []) if (each.incident_id === id) add(each.at, "xMatters", each.text, "bad");
  const numbers = new Set(pages.map((each) => each.number));
  for (const each of xmatters.callbacks ?? []) {
    const isTaken = each.status >= 200 && each.status < 300;
    // Taken callbacks about deliveries and statuses are left out: the page's log has the same facts.
    if (numbers.has(each.page) && (each.kind === "response" || !isTaken)) add(each.at, "xMatters", each.text, isTaken ? "calm" : "bad");
  }
  return events
    .map((each, place) => ({ ...each, place, moment: new Date(each.at).getTime() }))
    .sort((one, other) => one.moment - other.moment || one.place - other.place);
}
