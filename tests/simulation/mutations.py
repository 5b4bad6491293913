"""Typical faults of such code. Each is put into the library, and a schedule must find it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A fault in the library.

    Attributes:
        name: the fault in words.
        module: the changed module of the library, without `relay.`; or a module of the tests, for a fault of the world.
        right: the correct text, which the module contains once.
        wrong: the text that replaces it.
        seed: the seed that found the fault; tried first.
    """

    name: str
    module: str
    right: str
    wrong: str
    seed: int = 0

    @property
    def full_name(self) -> str:
        """The module's name for an import."""
        return self.module if self.module.startswith("tests.") else f"relay.{self.module}"

    @property
    def path(self) -> str:
        """The module's file in the repository."""
        folder = "" if self.module.startswith("tests.") else "layers/relay/"
        return f"{folder}{self.full_name.replace('.', '/')}.py"


MUTATIONS = (
    Mutation(
        "a job is let go although its copy was not taken",
        "entrypoints.worker",
        "until=seconds_of(again.message.not_before or again.received_at))",
        "until=seconds_of(again.message.not_before or again.received_at)) or True",
        seed=8,
    ),
    Mutation(
        "a job that hit a bug is let go",
        "entrypoints.worker",
        "            return False\n        return self._seen_to",
        "            return True\n        return self._seen_to",
        seed=268,
    ),
    Mutation(
        "partial failures are ignored",
        "entrypoints.worker",
        'for record in records if not self._handled(record["body"])]',
        'for record in records if not self._handled(record["body"]) and not record]',
        seed=8,
    ),
    Mutation(
        "a share is sent without being kept first",
        "delivery.debts",
        "    if not task.is_from_webhook or task.is_queued or task.queue_refused_it:\n        return task\n",
        "    if task.is_from_webhook:\n"
        "        return replace(task, is_queued=True)\n"
        "    if task.is_queued:\n"
        "        return task\n",
        seed=3,
    ),
    Mutation(
        "duplicate is answered against a share that nobody kept",
        "ledger.entry",
        "entry = entry.owing(lease.state) if queued else entry",
        "entry = entry.owing(lease.state)",
        seed=215,
    ),
    Mutation(
        "the lease is dropped",
        "ledger.entry",
        "return self.lease is not None and now < self.lease.until",
        "return False",
        seed=185,
    ),
    Mutation(
        "an expired lease is forgotten, not doubted",
        "ledger.entry",
        "return entry._counting(lease, 0, lease.began) if lease.owner == owner else entry._doubting(lease.state)",
        "return entry",
        seed=832,
    ),
    Mutation(
        "what may have paged is forgotten",
        "ledger.entry",
        "entry = replace(entry._doubting(lease.state), debt=replace(",
        "entry = replace(entry, debt=replace(",
        seed=14,
    ),
    Mutation(
        "owed is measured against what was seen",
        "ledger.entry",
        "return (self.announced, *self.doubtful, *in_flight)",
        "return (self.newest or self.announced, *self.doubtful, *in_flight)",
        seed=2,
    ),
    Mutation(
        "a signal in flight is not looked at",
        "ledger.entry",
        "return (self.announced, *self.doubtful, *in_flight)",
        "return (self.announced, *self.doubtful)",
        seed=75,
    ),
    Mutation(
        "versions are compared by updatedOn alone",
        "incidents.share",
        "stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]",
        "stamps = [stamp for stamp in (self.updated_on,) if stamp is not None]",
        seed=1,
    ),
    Mutation(
        "versions are compared by changedOn alone",
        "incidents.share",
        "stamps = [stamp for stamp in (self.changed_on, self.updated_on) if stamp is not None]",
        "stamps = [stamp for stamp in (self.changed_on,) if stamp is not None]",
        seed=17,
    ),
    Mutation(
        "a wrong clock is believed",
        "incidents.share",
        "return None if version and version[0] > came + MAX_AHEAD_SECONDS else version",
        "return version",
        seed=1,
    ),
    Mutation(
        "what got better unheard is forgotten",
        "ledger.entry",
        "eased = state.without_alerts() if is_better else self.eased if is_silent else None",
        "eased = None",
        seed=106,
    ),
    Mutation(
        "an incident of other recipients is another one",
        "delivery.task",
        "names = routing.recipients if routing.url_recipients is None else routing.url_recipients",
        "names = routing.recipients",
    ),
    Mutation(
        "signals of an incident need no time in between",
        "delivery.incident_rate_limit",
        "entry.signal_times[-1] + min_seconds if",
        "entry.signal_times[-1] if",
        seed=6,
    ),
    Mutation(
        "a signal that may have paged is tried again within seconds",
        "errors",
        "AMBIGUOUS_WAIT_SECONDS = 30.0",
        "AMBIGUOUS_WAIT_SECONDS = 3.0",
        seed=28,
    ),
    Mutation(
        "the circuit never opens",
        "ledger.circuit_breaker",
        "FAILURES_IN_A_ROW = 5",
        "FAILURES_IN_A_ROW = 5000",
        seed=307,
    ),
    Mutation(
        "Retry-After is not kept",
        "ledger.circuit_breaker",
        'self.update(gate, put={"open_until": now + pause})',
        'self.update(gate, put={"open_until": now})',
        seed=32,
    ),
    Mutation(
        "the pace counts half of the minute",
        "ledger.rate_limiter",
        "WINDOW_SECONDS = 61",
        "WINDOW_SECONDS = 31",
        seed=29,
    ),
    Mutation(
        "the worker sends nothing",
        "entrypoints.worker",
        "hold = self._hold(job, channel.policy)",
        "hold = Wait(Reason.PACED, self.clock() + 600)",
        seed=1,
    ),
    Mutation(
        "what passes by itself is dead-lettered at once",
        "delivery.debts",
        "    if HANDLING[reason].is_final:\n",
        "    if HANDLING[reason].is_final or reason == Reason.UPSTREAM:\n",
        seed=34,
    ),
    Mutation(
        "a job that is kept is taken for a spare one",
        "delivery.debts",
        "job, until = task.job, services.clock() + FIRST_WAKE_SECONDS",
        "job, until = task.job.as_spare(), services.clock() + FIRST_WAKE_SECONDS",
        seed=22,
    ),
    Mutation(
        "the fallback topic is never told",
        "delivery.topic",
        "        client().publish(\n",
        "        (lambda **_: None)(\n",
        seed=9,
    ),
    Mutation(
        "the fallback is not thought of once the job is dead-lettered",
        "ledger.debt",
        "row = Row(mark, is_critical=True) if state.is_critical and not self.is_notified else None",
        "row = None",
        seed=9,
    ),
    Mutation(
        "pages outlive their incident",
        "delivery.page_followup",
        "signal.is_open and signal.at < entry.end.at",
        "signal.is_open and signal.at < 0",
        seed=13,
    ),
    Mutation(
        "the page of a resolve ends with the others",
        "delivery.page_followup",
        "signal.is_open and signal.at < entry.end.at",
        "signal.at <= entry.end.at",
        seed=13,
    ),
    Mutation(
        "a resolve that nobody announces leaves its pages",
        "delivery.decision",
        "is_end = task.is_from_webhook and",
        "is_end = not task.is_from_webhook and",
        seed=423,
    ),
    Mutation(
        "a newer page ends another team's",
        "ledger.accepted_signal",
        "return set(_split(older.recipients)) <= set(_split(self.recipients))",
        "return True",
        seed=591,
    ),
    Mutation(
        "500, 502 and 504 are taken for a signal that did not ring",
        "errors",
        "return status >= 500 and status != 503",
        "return False",
        seed=111,
    ),
    Mutation(
        "a warning that may have paged is tried again at once",
        "delivery.sender",
        "not (repeats and sent.maybe_accepted == 1 and failure.may_have_acted)",
        "not (sent.maybe_accepted == 1 and failure.may_have_acted)",
        seed=28,
    ),
    Mutation(
        "what may have paged is not marked when it is repeated",
        "delivery.sender",
        "may_repeat = may_repeat or job.failures.may_have_paged or entry.may_have_paged(task.state)",
        "may_repeat = False",
        seed=13,
    ),
    Mutation(
        "a page is looked for once",
        "delivery.page_followup",
        "if not signal.pages and not signal.is_lost and now",
        "if not signal.pages and now - signal.at < 40 and now",
        seed=15,
    ),
    Mutation(
        "a replacement that is not there yet ends the page before",
        "delivery.page_followup",
        "return bool(newer.pages) and not newer.is_over",
        "return not newer.is_over",
        seed=76,
    ),
    Mutation(
        "nobody follows what the worker sent",
        "entrypoints.worker",
        "self.keeper.keep(followup, deadline, until=now + FOLLOW_SECONDS)",
        "pass",
        seed=13,
    ),
    Mutation(
        "a callback is answered before it is kept",
        "entrypoints.xmatters_callback",
        "if self.keeper.keep(job, deadline, until=self.clock()):",
        "if self.keeper.keep(job, deadline, until=self.clock()) or True:",
        seed=18,
    ),
    Mutation(
        "a comment that may stand there is written again",
        "bigpanda.writeback",
        "if note.in_doubt:",
        "if note.in_doubt and note.is_written:",
        seed=21,
    ),
    Mutation(
        "a callback that comes twice is written twice",
        "bigpanda.writeback",
        "if note.is_written:",
        "if note.is_written and note.in_doubt:",
        seed=1,
    ),
    Mutation(
        "a comment that BigPanda did not take is given up",
        "entrypoints.chores",
        "if result.outcome == Outcome.UNSAFE and self.clock() - began > SLOW_SECONDS:",
        "if result.reason == Reason.UPSTREAM:\n            return replace(result, outcome=Outcome.UNCHANGED)\n"
        "        if result.outcome == Outcome.UNSAFE and self.clock() - began > SLOW_SECONDS:",
        seed=957,
    ),
    Mutation(
        "the order of shares does not matter",
        "incidents.transition",
        "return came_before or not self.has_borrowed_version",
        "return False",
    ),
    Mutation(
        "a job that was overtaken is sent all the same",
        "delivery.standing",
        "        return Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)\n",
        "        return judge_change(entry, state, notify_on)\n",
        seed=2,
    ),
    Mutation(
        "what rests among the dead letters is told by its digest alone",
        "delivery.standing",
        "entry.dead_letter.holds(state) and (mark",
        "entry.dead_letter.state is not None and state.digest == entry.dead_letter.state.digest and (mark",
        seed=1560,
    ),
    Mutation(
        "a write of the ledger is not conditional",
        "ledger.table",
        "return None if written is None else before + 1",
        "return before + 1",
    ),
    Mutation(
        "flood control is not thought of",
        "delivery.incident_rate_limit",
        "FLOOD_SIGNALS = 4\n",
        "FLOOD_SIGNALS = 40\n",
        seed=496,
    ),
    Mutation(
        "jobs do not ask the pace",
        "delivery.delivery",
        "gate = _entered(services, task, entry)",
        "gate = Ticket({}) if not task.is_from_webhook else _entered(services, task, entry)",
        seed=9,
    ),
    Mutation(
        "what came once is not looked for again",
        "delivery.standing",
        "if entry.is_busy(now) or (newest",
        "if entry.sequence or (newest",
        seed=132,
    ),
    Mutation(
        "a snooze that is over is not news",
        "ledger.entry",
        "return replace(self, is_woken=True) if self.announced and self.announced.is_open else self",
        "return self",
        seed=462,
    ),
    Mutation(
        "a route is chosen and not taken",
        "delivery.task",
        "(*own, *(route.recipients if route else ()), *url_recipients)",
        "(*channel.recipients, *url_recipients)",
    ),
    Mutation(
        "what is as announced is never news, though a snooze ended",
        "delivery.standing",
        "if is_announced and not entry.was_better and not is_owed_anew:",
        "if is_announced and not is_owed_anew:",
        seed=11562,
    ),
    Mutation(
        "a page of what is over goes on for minutes",
        "delivery.page_followup",
        "wait = min(max((now - youngest) / 2, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_SEARCH_WAIT_SECONDS)",
        "wait = 170.0",
        seed=954,
    ),
    Mutation(
        "a comment is news",
        "incidents.transition",
        "frozenset(Transition) - {Transition.GREW, Transition.TOUCHED}",
        "frozenset(Transition) - {Transition.GREW}",
        seed=1,
    ),
    Mutation(
        "a fast fail of the circuit counts as a try",
        "entrypoints.worker",
        "            return job.waiting(reason, result.until)\n",
        "            failures = replace(job.failures, attempts=job.failures.attempts + 1)\n"
        "            job = replace(job, failures=failures)\n"
        "            return job.waiting(reason, result.until)\n",
        seed=2,
    ),
    Mutation(
        "a job is never too old",
        "entrypoints.worker",
        "> policy.max_age_seconds:",
        "> policy.max_age_seconds * 1000:",
        seed=3,
    ),
    Mutation(
        "what xMatters refuses is thrown away",
        "delivery.debts",
        "dead_lettered = services.keeper.dead_letter(job, services.deadline)",
        "revival = replace(job.revival, dead_lettered_at=job.received_at)\n"
        "    dead_lettered = replace(job.waiting(job.failures.reason, 0.0), revival=revival)",
        seed=2,
    ),
    Mutation(
        "what comes back from the dead-letter queue is dead-lettered still",
        "delivery.standing",
        "mark < entry.dead_letter.mark",
        "mark <= entry.dead_letter.mark",
        seed=73,
    ),
    Mutation(
        "a replay deletes what the retry queue did not take",
        "delivery.replay",
        "taken = [item for item, problem in zip(batch, problems, strict=True) if problem is None]",
        "taken = list(batch)",
        seed=633,
    ),
    Mutation(
        "the fallback is told of each at once",
        "entrypoints.sweeper",
        "NOTIFIED_AGAIN_SECONDS = 300.0",
        "NOTIFIED_AGAIN_SECONDS = 0.0",
        seed=34,
    ),
    # ---- Priority --------------------------------------------------------------------------------------------
    Mutation(
        "criticals do not go first",
        "delivery.delivery",
        "urgent=is_critical, slot",
        "urgent=False, slot",
        seed=9,
    ),
    Mutation(
        "others do not step back for a critical",
        "ledger.rate_limiter",
        "return is_critical_waited_for or (not is_due and",
        "return (not is_due and",
        seed=9,
    ),
    Mutation(
        "a critical gets a moment in the line of the others",
        "ledger.rate_limiter",
        'line, end = ("critical", gate.critical) if urgent else ("other", gate.other)\n        if max',
        'line, end = ("other", gate.other)\n        if max',
        seed=9,
    ),
    Mutation(
        "a share that met a lease sleeps until the lease would end",
        "delivery.attempt",
        "    _wake_next(services, task, recorded)\n",
        "",
        seed=138,
    ),
    # ---- Time ------------------------------------------------------------------------------------------------
    Mutation(
        "the fallback topic is told ten times later",
        "entrypoints.sweeper",
        ">= policy.fallback_after_seconds",
        ">= 10 * policy.fallback_after_seconds",
        seed=32,
    ),
    Mutation(
        "a message that vanished is not replaced",
        "entrypoints.sweeper",
        "return bool(entry.debt.job) and is_due and not entry.is_busy(now)",
        "return False",
        seed=1,
    ),
    Mutation(
        "a backoff lasts for hours",
        "errors",
        "LONGEST_WAIT_SECONDS = 900.0",
        "LONGEST_WAIT_SECONDS = 9000.0",
        seed=124,
    ),
    Mutation(
        "the backoff of a critical doubles as that of others",
        "jobs.backoff",
        "most = CRITICAL_WAIT_SECONDS if is_critical and not may_have_acted else LONGEST_WAIT_SECONDS",
        "most = LONGEST_WAIT_SECONDS",
        seed=300,
    ),
    Mutation(
        "a kept job sleeps for a quarter of an hour",
        "delivery.debts",
        "FIRST_WAKE_SECONDS = 36.0",
        "FIRST_WAKE_SECONDS = 900.0",
        seed=22,
    ),
    Mutation(
        "the circuit is half open for ever",
        "ledger.circuit_breaker",
        "return self._wait(now + SPREAD_SECONDS, urgent=urgent) if probes is None else None",
        "return self._wait(now + SPREAD_SECONDS, urgent=urgent)",
        seed=13,
    ),
    Mutation(
        "a circuit stays open for an hour",
        "ledger.circuit_breaker",
        "\nOPEN_SECONDS = 30.0",
        "\nOPEN_SECONDS = 3600.0",
        seed=13,
    ),
    Mutation(
        "a resolve waits for its distance",
        "delivery.incident_rate_limit",
        "_UNSPACED = frozenset({Transition.WORSENED, Transition.RESOLVED})",
        "_UNSPACED = frozenset({Transition.WORSENED})",
        seed=97,
    ),
    Mutation(
        "what got worse waits for its distance",
        "delivery.incident_rate_limit",
        "_UNSPACED = frozenset({Transition.WORSENED, Transition.RESOLVED})",
        "_UNSPACED = frozenset({Transition.RESOLVED})",
        seed=97,
    ),
    Mutation(
        "unused pace is never given back",
        "ledger.rate_limiter",
        "for gate, second in ticket.taken.items():",
        "for gate, second in ():",
        seed=97,
    ),
    Mutation(
        "a critical that meets another sender at its slot loses the slot",
        "ledger.rate_limiter",
        "if slot and urgent and is_full and is_due and now + SLOT_AGAIN_SECONDS < slot.at + GRACE_SECONDS:",
        "if slot and urgent and False:",
        seed=28015220,
    ),
    Mutation(
        "an asker that found no room stays counted",
        "ledger.rate_limiter",
        "uncount = {count_name(int(now)): -1}",
        "uncount = {count_name(int(now)): 0}",
        seed=43,
    ),
    Mutation(
        "a job lives twice as long as it may",
        "entrypoints.worker",
        "> policy.max_age_seconds:",
        "> 2 * policy.max_age_seconds:",
        seed=3,
    ),
    # ---- Recipients ------------------------------------------------------------------------------------------
    Mutation(
        "webhooks whose URLs name recipients share an entry",
        "delivery.task",
        "names = routing.recipients if routing.url_recipients is None else routing.url_recipients",
        "names = ()",
        seed=6,
    ),
    Mutation(
        "the recipients in a webhook's URL are not rung",
        "delivery.task",
        "(*own, *(route.recipients if route else ()), *url_recipients)",
        "(*own, *(route.recipients if route else ()))",
        seed=6,
    ),
    Mutation(
        "the recipients in a webhook's URL are rung alone",
        "delivery.task",
        "(*own, *(route.recipients if route else ()), *url_recipients)",
        "url_recipients or (*own, *(route.recipients if route else ()))",
        seed=6,
    ),
    Mutation(
        "channels share an entry",
        "ledger.entry_key",
        'return f"incident/{channel}/{named(recipients)}',
        'return f"incident/{named(recipients)}',
        seed=1,
    ),
    Mutation(
        "channels share a gate",
        "delivery.task",
        "channel = Rule(gate_of(self.job.channel), policy",
        'channel = Rule("gate/all", policy',
        seed=9,
    ),
    Mutation(
        "an old acknowledgement silences others",
        "ledger.entry",
        "if came < max([announced.came, *(signal.at for signal in self.accepted_signals)]):",
        "if came < 0:",
        seed=369,
    ),
    Mutation(
        "what got worse rings the acknowledger alone",
        "delivery.decision",
        "frozenset({Transition.OPENED, Transition.WORSENED, Transition.REOPENED})",
        "frozenset({Transition.OPENED, Transition.REOPENED})",
        seed=321,
    ),
    Mutation(
        "an acknowledgement outlives what it answered",
        "ledger.entry",
        'acknowledged_by="" if is_anew else entry.acknowledged_by',
        "acknowledged_by=entry.acknowledged_by",
        seed=510,
    ),
    # ---- Capacity --------------------------------------------------------------------------------------------
    Mutation(
        "the gate keeps the counts of all seconds",
        "ledger.rate_limiter",
        "return [count_name(second) for second in self.counts if second <= now - WINDOW_SECONDS - 1]",
        "return []",
        seed=85,
    ),
    Mutation(
        "each job is kept twice",
        "jobs.outbox",
        "return self._put(self.chores if job.kind in CHORES else self.retries, job, deadline, delay)",
        "queue = self.chores if job.kind in CHORES else self.retries\n"
        "        return self._put(queue, job, deadline, delay) and self._put(queue, job, deadline, delay)",
        seed=2,
    ),
    Mutation(
        "a success is told to the circuit each time",
        "ledger.circuit_breaker",
        "            if troubled:\n",
        "            for _ in range(3):\n",
        seed=817,
    ),
    Mutation(
        "AWS stops chains of messages",
        "tests.simulation.simulation",
        "CUTS_CHAINS = False",
        "CUTS_CHAINS = True",
        seed=188,
    ),
    # ---- Credentials -----------------------------------------------------------------------------------------
    Mutation(
        "a new token of BigPanda's is not read",
        "channels.admission",
        "channel = self.channels.recent(request.channel)",
        "channel = self.channels.current(request.channel)",
        seed=24,
    ),
    Mutation(
        "a key that was refused is not read again",
        "delivery.sender",
        "found = self.channels.refresh(channel.name)",
        "found = channel",
        seed=28,
    ),
    Mutation(
        "a refused key is tried again after an hour",
        "errors",
        "constant_wait_seconds=300.0",
        "constant_wait_seconds=3600.0",
        seed=44,
    ),
    Mutation(
        "no last good secret is kept",
        "channels.cache",
        "copy.read_at, copy.failure = now, str(error)\n            return copy.channel",
        "copy.read_at, copy.failure = now, str(error)\n            raise",
        seed=403,
    ),
    # ---- Loss and order --------------------------------------------------------------------------------------
    Mutation(
        "a lease lasts for three seconds",
        "ledger.lease",
        "LEASE_SECONDS = 15.0",
        "LEASE_SECONDS = 3.0",
        seed=185,
    ),
    Mutation(
        "what is bad again within a second is a copy",
        "delivery.standing",
        "return state.name in entry.seen and not state.is_worse_than(newest)",
        "return state.name in entry.seen",
        seed=35,
    ),
    Mutation(
        "the fallback is told of the first incident alone",
        "entrypoints.sweeper",
        "for each in owed[:MAX_NAMED]]\n"
        "        return self.fallback.notify(channel, debts, others=len(owed) - len(debts) + unchecked)",
        "for each in owed[:1]]\n        return self.fallback.notify(channel, debts)",
        seed=34,
    ),
    Mutation(
        "a failed signal has no row",
        "delivery.attempt",
        "owed = now.waiting(task.state, row) if row else now",
        "owed = now",
        seed=32,
    ),
    Mutation(
        "a state that waits has no row",
        "delivery.debts",
        "owed = entry.waiting(task.state, row)",
        "owed = entry.owing(task.state)",
        seed=1,
    ),
    Mutation(
        "the job of a debt is not stored",
        "ledger.ledger",
        "self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)",
        "return",
        seed=1,
    ),
    Mutation(
        "a row outlives its debt",
        "ledger.debt",
        "return replace(self.without_row(), since=None, is_notified=False, reason",
        "return replace(self, since=None, is_notified=False, reason",
        seed=1,
    ),
    Mutation(
        "a job that nothing wakes is never handed over",
        "entrypoints.sweeper",
        "if run.has_queue and row.sent < number:",
        "if run.has_queue:",
        seed=1,
    ),
    Mutation(
        "nobody is told that no page came",
        "delivery.page_followup",
        "is_alarming, now = _is_silent(after, seen), self.clock()",
        "is_alarming, now = False, self.clock()",
        seed=524,
    ),
    Mutation(
        "BigPanda is asked as often as there is something to ask",
        "bigpanda.api_rate_limit",
        'if counted is None or counted["calls"] <= limit:',
        "if counted is None or limit:",
        seed=692,
    ),
    Mutation(
        "the sweeper replaces the messages of criticals last",
        "entrypoints.sweeper",
        "sorted(placed, key=lambda place: place[:2])",
        "sorted(placed, key=lambda place: (not place[0], place[1]))",
        seed=32,
    ),
    Mutation(
        "a job sleeps beyond its age",
        "delivery.task",
        "return min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))",
        "return until",
        seed=3,
    ),
    Mutation(
        "whether no page came of a critical is asked of the job that looks",
        "delivery.page_followup",
        "is_alarming, now = _is_silent(after, seen), self.clock()",
        'is_alarming, now = _is_silent(after, seen) and job.payload.status == "critical", self.clock()',
        seed=261,
    ),
    Mutation(
        "the fallback topic is told of a critical when its next attempt is due",
        "entrypoints.sweeper",
        "return is_open and self.clock() - owed.overdue_since >=",
        "return is_open and entry.debt.due <= self.clock() and self.clock() - owed.overdue_since >=",
        seed=34,
    ),
    Mutation(
        "additional alerts are forgotten after a conflicting write",
        "delivery.decision",
        "return replace(newest, alerts=task.state.alerts)",
        "return newest",
        seed=36007618,
    ),
)
