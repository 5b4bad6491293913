"""Deliberate faults for mutation tests. Each is written into the relay's library, and a schedule must find it."""

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutation:
    """A fault in the library.

    Attributes:
        place: module and function with the right code, such as `ledger.table:Table.read`. The module is one of the
            library, named without `relay.`, or one of the tests, for a fault of the world. Code outside of functions
            has no name after the colon.
        right: the correct code, an expression or statements, which the function has once. Its layout does not matter.
        seed: the seed that found the fault; tried first.
        simulation: the module of `tests.simulation` whose `judge` finds the fault.
    """

    name: str
    place: str
    right: str
    wrong: str
    seed: int = 0
    simulation: str = "simulation"

    @property
    def path(self) -> Path:
        """The module's file."""
        module = self.place.partition(":")[0]
        folder = "" if module.startswith(("tests.", "relayctl.")) else "layers/relay/relay/"
        return ROOT / f"{folder}{module.replace('.', '/')}.py"

    @property
    def function(self) -> str:
        """The function's qualified name."""
        return self.place.partition(":")[2]


MUTATIONS = (
    Mutation(
        "a job is let go although its copy was not taken",
        "entrypoints.worker:Worker._put_back_if_waiting",
        "self.outbox.enqueue(again, until=seconds_of(again.not_before or again.received_at))",
        """
            self.outbox.enqueue(
                again, until=seconds_of(again.not_before or again.received_at)
            ) or True
        """,
        seed=8,
    ),
    Mutation(
        "partial failures are ignored",
        "entrypoints.worker:Worker.work",
        "not self._handled_or_counted(record)",
        "not self._handled_or_counted(record) and not record",
        seed=8,
    ),
    Mutation(
        "a share is sent without being kept first",
        "delivery.delivery:attempt",
        "keep(services, task, wait, plan=next_plan(task, entry))",
        "replace(task, wakes_at=wait.until)",
        seed=5,
    ),
    Mutation(
        "duplicate is answered against a share that nobody kept",
        "ledger.entry:Entry.leased",
        "entry if plan is None else entry.owing(lease.state, plan)",
        "entry.owing(lease.state, plan or 0)",
        seed=296,
    ),
    Mutation(
        "the lease is dropped",
        "ledger.entry:Entry.is_busy",
        "self.lease is not None and now < self.lease.until",
        "False",
        seed=20,
    ),
    Mutation(
        "an expired lease is forgotten, not doubted",
        "ledger.entry:Entry._without_lease",
        "self if self.lease is None else replace(self, lease=None)._doubting(self.lease.state)",
        "replace(self, lease=None)",
        seed=715,
    ),
    Mutation(
        "what may have paged is forgotten",
        "ledger.entry:Entry.failed",
        "entry._doubting(lease.state)",
        "entry",
        seed=14,
    ),
    Mutation(
        "owed is measured against what was seen",
        "ledger.entry:Entry.maybe_announced",
        "self.announced",
        "self.newest or self.announced",
        seed=2,
    ),
    Mutation(
        "a signal in flight is not looked at",
        "ledger.entry:Entry.maybe_announced",
        "(self.announced, *self.doubtful, *in_flight)",
        "(self.announced, *self.doubtful)",
        seed=75,
    ),
    Mutation(
        "versions are compared by updatedOn alone",
        "incidents.share:Share.version",
        "(self.changed_on, self.updated_on)",
        "(self.updated_on,)",
        seed=19,
    ),
    Mutation(
        "versions are compared by changedOn alone",
        "incidents.share:Share.version",
        "(self.changed_on, self.updated_on)",
        "(self.changed_on,)",
        seed=17,
    ),
    Mutation(
        "a wrong clock is believed",
        "incidents.share:Share.trusted_version",
        "None if version and version[0] > came + MAX_AHEAD_SECONDS else version",
        "version",
        seed=17,
    ),
    Mutation(
        "what got better unheard is forgotten",
        "ledger.entry:Entry.unchanged",
        "state.without_alerts() if self.is_eased_by(state) else None",
        "None",
        seed=3,
    ),
    Mutation(
        "an incident of other recipients is another one",
        "delivery.task:entry_key_of",
        "job.url_recipients",
        "job.stamps.recipients",
    ),
    Mutation(
        "signals of an incident need no time in between",
        "delivery.rules:earliest_send_time",
        "entry.signal_times[-1] + min_seconds",
        "entry.signal_times[-1]",
        seed=6,
    ),
    Mutation(
        "a signal that may have paged is tried again within seconds",
        "failures:",
        "AMBIGUOUS_WAIT_SECONDS = 30.0",
        "AMBIGUOUS_WAIT_SECONDS = 3.0",
        seed=119,
    ),
    Mutation(
        "the circuit never opens",
        "ledger.rate_limit_and_circuit:",
        "FAILURES_IN_A_ROW = 5",
        "FAILURES_IN_A_ROW = 5000",
        seed=4,
    ),
    Mutation(
        "Retry-After is not kept",
        "ledger.rate_limit_and_circuit:RateLimiter.report",
        '{"open_until": now + pause}',
        '{"open_until": now}',
        seed=32,
    ),
    Mutation(
        "the pace counts half of the minute",
        "ledger.rate_limit_and_circuit:",
        "WINDOW_SECONDS = 61",
        "WINDOW_SECONDS = 31",
        seed=29,
    ),
    Mutation(
        "the worker sends nothing",
        "entrypoints.worker:Worker._done",
        "self._own_wait(job, channel.policy)",
        "Wait(Reason.PACED, self.clock() + 600)",
        seed=1,
    ),
    Mutation(
        "what passes by itself is dead-lettered at once",
        "delivery.delivery:_record_failure",
        "HANDLING[result.reason or Reason.INTERNAL].is_final",
        "HANDLING[result.reason or Reason.INTERNAL].is_final or result.reason == Reason.UPSTREAM",
        seed=34,
    ),
    Mutation(
        "the message with the recorded plan is dropped",
        "delivery.rules:judge_job",
        "plan >= entry.debt.plan",
        "plan > entry.debt.plan",
        seed=1,
    ),
    Mutation(
        "a bell has the plan of the stored job",
        "sweeper.bells:Bells._ring_one",
        "job.planned(row.entry.debt.plan)",
        "job.planned(job.plan)",
        seed=34,
    ),
    Mutation(
        "the fallback topic is never told",
        "delivery.sns_topic:publish",
        "client().publish",
        "lambda **_: None",
        seed=9,
    ),
    Mutation(
        "the fallback is not thought of once the job is dead-lettered",
        "ledger.debt:Debt.dead_lettered",
        "Row(due)",
        "None",
        seed=3,
    ),
    Mutation(
        "the page of a resolve ends with the others",
        "delivery.page_followup:signals_to_terminate",
        "signal.is_open and signal.at < entry.end.at",
        "signal.at <= entry.end.at",
        seed=9,
    ),
    Mutation(
        "a resolve that nobody announces leaves its pages",
        "delivery.rules:with_end",
        "action.note or entry",
        "entry",
        seed=84,
    ),
    Mutation(
        "a newer page ends another team's",
        "ledger.accepted_signal:AcceptedSignal.reaches_all_of",
        "set(_split(older.recipients)) <= set(_split(self.recipients))",
        "True",
        seed=591,
    ),
    Mutation(
        "500, 502 and 504 are taken for a signal that did not ring",
        "failures:is_ambiguous_status",
        "status >= 500 and status != 503",
        "False",
        seed=83,
    ),
    Mutation(
        "a warning that may have paged is tried again at once",
        "xmatters.trigger:XMatters.send",
        "repeats_if_ambiguous and sent.maybe_accepted == 1 and failure.may_have_acted",
        "sent.maybe_accepted == 1 and failure.may_have_acted",
        seed=119,
    ),
    Mutation(
        "what may have paged is not marked when it is repeated",
        "delivery.task:send_signal",
        "Flag.MAY_HAVE_PAGED in job.flags or is_repeat",
        "False",
        seed=13,
    ),
    Mutation(
        "a page is looked for once",
        "delivery.page_followup:Followup._without_known_page",
        "not signal.is_page_missing",
        "now - signal.at < 40",
        seed=11,
    ),
    Mutation(
        "a replacement that is not there yet ends the page before",
        "delivery.page_followup:_takes_over",
        "bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)",
        "not newer.is_over and newer.reaches_all_of(older)",
        seed=15,
    ),
    Mutation(
        "each signal of an incident has a chain of follow-ups of its own",
        "delivery.page_followup:Followup._noted",
        "after.announced is not None and after.announced.came > came + MILLISECOND",
        "False",
        seed=509,
    ),
    Mutation(
        "nobody follows what the worker sent",
        "entrypoints.worker:Worker._follow",
        "is_queued = self.outbox.enqueue(followup_job(result.job or job, now), until=now + delay)",
        "is_queued = True",
        seed=11,
    ),
    Mutation(
        "the page of an incident that opens again ends before the new one",
        "delivery.page_followup:signals_to_terminate",
        "is_resolved and not entry.opens_again",
        "is_resolved",
        seed=3438,
    ),
    Mutation(
        "the pages of an end that nobody was told of are followed by nobody",
        "delivery.delivery:_follow_end",
        "task.channel.rest is None or not before.has_pages or not is_new or is_followed",
        "True",
        seed=84,
    ),
    Mutation(
        "an incident that opens again before its end was announced rings nobody",
        "ledger.entry:Entry.ended_unannounced",
        "state.without_alerts() if self.is_eased_by(state) else self.eased",
        "self.eased",
        seed=216,
    ),
    Mutation(
        "a resolve that xMatters does not accept leaves its pages ringing",
        "delivery.rules:with_end",
        "entry.ended_unannounced(task.state)",
        "entry.ended_unannounced(task.state) if isinstance(action, DeadLetter) else entry",
        seed=5218,
    ),
    Mutation(
        "the fallback topic is told once, however often an incident opens again",
        "ledger.entry:Entry._with_newest",
        "is_reopened and (debt.is_notified or self.eased)",
        "False",
        seed=44227,
    ),
    Mutation(
        "a state that is newer than a claimed resolve waits for the answer",
        "ledger.entry:Entry.claim_hold",
        "not self.end.is_claimed or not state.is_open or self.is_after_claim(state)",
        "not self.end.is_claimed or not state.is_open",
        seed=15,
    ),
    Mutation(
        "a time-out of BigPanda counts as the relay's own delay",
        "delivery.resolve_questions:ResolveQuestions._answer",
        "error.reason == Reason.TIMEOUT and not calls",
        "error.reason == Reason.TIMEOUT",
        seed=945,
    ),
    Mutation(
        "a callback is answered before it is kept",
        "entrypoints.http_endpoints:take_callback",
        "outbox.enqueue(job, until=now)",
        "outbox.enqueue(job, until=now) or True",
        seed=75,
    ),
    Mutation(
        "a comment that may stand there is written again",
        "bigpanda.callback_writeback:Writeback._write_once",
        "replace(progress, in_doubt=progress.in_doubt or progress.until > 0, until=now + WRITEBACK_LEASE_SECONDS)",
        "replace(progress, until=now + WRITEBACK_LEASE_SECONDS)",
        seed=45,
    ),
    Mutation(
        "a callback that comes twice is written twice",
        "bigpanda.callback_writeback:Writeback._write_once",
        "progress.is_written",
        "progress.is_written and progress.in_doubt",
        seed=2,
    ),
    Mutation(
        "a comment that BigPanda did not take is given up",
        "entrypoints.worker:Chores.do",
        """
            if result.outcome == Outcome.UNSAFE and result.exchange.attempts and self.clock() - began > SLOW_SECONDS:
                self.silent[api] = self.clock() + SILENT_SECONDS
        """,
        """
            if result.reason == Reason.UPSTREAM:
                return replace(result, outcome=Outcome.UNCHANGED)
            if result.outcome == Outcome.UNSAFE and result.exchange.attempts and self.clock() - began > SLOW_SECONDS:
                self.silent[api] = self.clock() + SILENT_SECONDS
        """,
        seed=957,
    ),
    Mutation(
        "the order of shares does not matter",
        "incidents.share:State.precedes",
        "came_before or not self.has_borrowed_version",
        "False",
    ),
    Mutation(
        "a job that was overtaken is sent all the same",
        "delivery.rules:judge_job",
        "Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)",
        "judge_change(entry, state, notify_on)",
        seed=2,
    ),
    Mutation(
        "a newer state stays among the dead letters with the one before it",
        "ledger.entry:Entry._with_newest",
        'replace(debt, attempts=0, reason="", dead_lettered_at=0.0, revived_at=0.0)',
        'replace(debt, attempts=0, reason="", revived_at=0.0)',
        seed=117,
    ),
    Mutation(
        "a write of the ledger is not conditional",
        "ledger.table:Table.write",
        "None if written is None else before + 1",
        "before + 1",
        seed=6,
    ),
    Mutation(
        "flood control is not thought of",
        "delivery.rules:",
        "FLOOD_CONTROL_SIGNALS = 4",
        "FLOOD_CONTROL_SIGNALS = 40",
        seed=13,
    ),
    Mutation(
        "jobs do not ask the pace",
        "delivery.delivery:_act",
        "_entered(services, task, entry)",
        "Ticket({}) if not task.is_from_webhook else _entered(services, task, entry)",
        seed=1,
    ),
    Mutation(
        "what came once is not looked for again",
        "delivery.rules:was_shared",
        "entry.is_busy(now)",
        "entry.sequence",
        seed=11,
    ),
    Mutation(
        "a snooze that is over is not news",
        "ledger.entry:Entry.with_snooze_over",
        "replace(self, eased=_as_over(announced)) if announced and announced.is_open else self",
        "self",
        seed=238,
    ),
    Mutation(
        "a route is chosen and not taken",
        "delivery.task:Task.of",
        "(*channel.trigger_recipients, *own, *routed, *job.url_recipients)",
        "(*channel.trigger_recipients, *channel.recipients, *job.url_recipients)",
    ),
    Mutation(
        "what is as announced is never news, though a snooze ended",
        "delivery.rules:judge_job",
        "is_announced and not entry.eased and not is_owed_anew",
        "is_announced and not is_owed_anew",
        seed=11562,
    ),
    Mutation(
        "a page of what is over goes on for minutes",
        "delivery.page_followup:Followup._again",
        "min(max(wait, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_SEARCH_WAIT_SECONDS)",
        "170.0",
        seed=954,
    ),
    Mutation(
        "a comment is news",
        "incidents.share:",
        "_ONCALL | {Transition.EASED}",
        "_ONCALL | {Transition.EASED, Transition.TOUCHED}",
        seed=2,
    ),
    Mutation(
        "a fast fail of the circuit counts as a try",
        "delivery.delivery:queue_message",
        "job = task.job.planned(task.job.plan if plan is None else plan)",
        """
            job = task.job.after_attempts(1).planned(task.job.plan if plan is None else plan)
        """,
        seed=3,
    ),
    Mutation(
        "what xMatters refuses is thrown away",
        "delivery.delivery:dead_letter",
        "services.outbox.dead_letter(job)",
        "replace(job.waiting(job.stamps.reason, 0.0), dead_lettered_at=job.received_at)",
        seed=2,
    ),
    Mutation(
        "what comes back from the dead-letter queue is dead-lettered still",
        "delivery.rules:judge_job",
        "dead_lettered_at >= entry.debt.dead_lettered_at",
        "dead_lettered_at > entry.debt.dead_lettered_at",
        seed=10,
    ),
    Mutation(
        "the fallback is told of each at once",
        "sweeper.fallback_notifier:",
        "NOTIFIED_AGAIN_SECONDS = 300.0",
        "NOTIFIED_AGAIN_SECONDS = 0.0",
        seed=34,
    ),
    # ---- Priority --------------------------------------------------------------------------------------------
    Mutation(
        "criticals do not go first",
        "delivery.delivery:_entered",
        "services.rate_limiter.enter(task.channel, task.recipients, is_critical=is_critical, slot=slot)",
        "services.rate_limiter.enter(task.channel, task.recipients, is_critical=False, slot=slot)",
        seed=3,
    ),
    Mutation(
        "a critical gets a moment in the line of the others",
        "ledger.rate_limit_and_circuit:RateLimiter._set_aside",
        '("critical", gate.critical_line_end) if is_critical else ("other", gate.other_line_end)',
        '("other", gate.other_line_end)',
        seed=3,
    ),
    Mutation(
        "a share that met a lease sleeps until the lease would end",
        "delivery.delivery:_record_acceptance",
        """
            _wake_next(services, task, recorded)
            owe_to_others(services, task, recorded)
            return result
        """,
        "return result",
        seed=563,
    ),
    # ---- Time ------------------------------------------------------------------------------------------------
    Mutation(
        "the fallback topic is told ten times later",
        "sweeper.fallback_notifier:FallbackNotifier._is_to_notify",
        "policy.fallback_after_seconds",
        "10 * policy.fallback_after_seconds",
        seed=34,
    ),
    Mutation(
        "a message that vanished is not replaced",
        "sweeper.bells:Bells._is_overdue",
        "bool(entry.debt.job) and is_due and not entry.is_busy(now)",
        "False",
        seed=2,
    ),
    Mutation(
        "a backoff lasts for hours",
        "failures:",
        "LONGEST_WAIT_SECONDS = 900.0",
        "LONGEST_WAIT_SECONDS = 9000.0",
        seed=24,
    ),
    Mutation(
        "the backoff of a critical doubles as that of others",
        "failures:wait_seconds",
        "CRITICAL_WAIT_SECONDS if is_critical and not may_have_acted else LONGEST_WAIT_SECONDS",
        "LONGEST_WAIT_SECONDS",
        seed=95,
    ),
    Mutation(
        "a kept job sleeps for a quarter of an hour",
        "delivery.delivery:",
        "FIRST_WAKE_SECONDS = 36.0",
        "FIRST_WAKE_SECONDS = 900.0",
        seed=95,
    ),
    Mutation(
        "the circuit is half open for ever",
        "ledger.rate_limit_and_circuit:RateLimiter._wait_for_probe",
        "self._after(now + SPREAD_SECONDS, is_critical=is_critical) if probes is None else None",
        "self._after(now + SPREAD_SECONDS, is_critical=is_critical)",
        seed=13,
    ),
    Mutation(
        "a circuit stays open for an hour",
        "ledger.rate_limit_and_circuit:",
        "OPEN_SECONDS = 30.0",
        "OPEN_SECONDS = 3600.0",
        seed=13,
    ),
    Mutation(
        "a resolve waits for its distance",
        "delivery.rules:",
        "{Transition.WORSENED, Transition.RESOLVED, Transition.UNANSWERED}",
        "{Transition.WORSENED, Transition.UNANSWERED}",
        seed=97,
    ),
    Mutation(
        "what got worse waits for its distance",
        "delivery.rules:",
        "{Transition.WORSENED, Transition.RESOLVED, Transition.UNANSWERED}",
        "{Transition.RESOLVED, Transition.UNANSWERED}",
        seed=97,
    ),
    Mutation(
        "unused pace is never given back",
        "ledger.rate_limit_and_circuit:RateLimiter.leave",
        "ticket.taken.items()",
        "()",
        seed=97,
    ),
    Mutation(
        "an asker that found no room stays counted",
        "ledger.rate_limit_and_circuit:RateLimiter._set_aside",
        "{count_name(int(now)): -1}",
        "{count_name(int(now)): 0}",
        seed=25,
    ),
    Mutation(
        "a job lives twice as long as it may",
        "delivery.rules:final_reason",
        "now > task.expires_at",
        "now > self.expires_at + self.channel.policy.max_age_seconds",
        seed=3,
    ),
    # ---- Recipients ------------------------------------------------------------------------------------------
    Mutation(
        "webhooks whose URLs name recipients share an entry",
        "delivery.task:entry_key_of",
        "job.url_recipients",
        "()",
        seed=6,
    ),
    Mutation(
        "the recipients in a webhook's URL are not rung",
        "delivery.task:Task.of",
        "(*channel.trigger_recipients, *own, *routed, *job.url_recipients)",
        "(*channel.trigger_recipients, *own, *routed)",
        seed=6,
    ),
    Mutation(
        "the recipients in a webhook's URL are rung alone",
        "delivery.task:Task.of",
        "(*channel.trigger_recipients, *own, *routed, *job.url_recipients)",
        "job.url_recipients or (*own, *routed)",
        seed=6,
    ),
    Mutation(
        "channels share an entry",
        "ledger.entry:entry_key",
        'f"incident/{channel}/{recipients_name(recipients)}/{legal_id(incident_id)}"',
        'f"incident/{recipients_name(recipients)}/{legal_id(incident_id)}"',
        seed=1,
    ),
    Mutation(
        "channels share a gate",
        "ledger.rate_limit_and_circuit:limits_of",
        "gate_of(channel.name)",
        '"gate/all"',
        seed=9,
    ),
    Mutation(
        "an old acknowledgement silences others",
        "ledger.entry:Entry.acknowledged",
        "is_early or is_second or self.is_overtaken(came, answered, as_acknowledgement=True)",
        "False",
        seed=369,
    ),
    Mutation(
        "what got worse rings the acknowledger alone",
        "delivery.rules:",
        "{Transition.OPENED, Transition.WORSENED, Transition.REOPENED}",
        "{Transition.OPENED, Transition.REOPENED}",
        seed=321,
    ),
    Mutation(
        "an acknowledgement outlives what it answered",
        "ledger.entry:Entry.announcing",
        "audience.is_for_acknowledger and state.is_open",
        "audience",
        seed=510,
    ),
    # ---- Capacity --------------------------------------------------------------------------------------------
    Mutation(
        "the gate keeps the counts of all seconds",
        "ledger.rate_limit_and_circuit:Gate.stale",
        "[count_name(second) for second in self.counts if second <= now - WINDOW_SECONDS - 1]",
        "[]",
        seed=41,
    ),
    Mutation(
        "each job is kept twice",
        "jobs.queue:Outbox.enqueue",
        "return self._put(self.chores if job.kind in CHORES else self.retries, job, delay)",
        """
            queue = self.chores if job.kind in CHORES else self.retries
            return self._put(queue, job, delay) and self._put(queue, job, delay)
        """,
        seed=4,
    ),
    Mutation(
        "a success is told to the circuit each time",
        "ledger.rate_limit_and_circuit:RateLimiter.report",
        """
            if ticket.troubled:
                self._update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])
        """,
        """
            for _ in range(3):
                self._update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])
        """,
        seed=255,
    ),
    # ---- Credentials -----------------------------------------------------------------------------------------
    Mutation(
        "a new token of BigPanda's is not read",
        "channels.authentication:Authenticator._looked_up",
        "self.channels.for_refusal",
        "self.channels.for_authentication",
        seed=38,
    ),
    Mutation(
        "a key that was refused is not read again",
        "xmatters.trigger:XMatters._renewed",
        "self._channels.refresh(channel.name)",
        "channel",
        seed=16,
    ),
    Mutation(
        "a key that was refused at the last attempt is not read again",
        "xmatters.trigger:XMatters.send",
        "failure.reason == Reason.CREDENTIALS and not is_renewed",
        "failure.reason == Reason.CREDENTIALS and not is_renewed and attempts_left",
        seed=16,
    ),
    Mutation(
        "no last good secret is kept",
        "channels.cache:ChannelCache._read_again",
        "return copy.channel",
        "raise",
        seed=0,
    ),
    # ---- Loss and order --------------------------------------------------------------------------------------
    Mutation(
        "a lease lasts for three seconds",
        "ledger.entry:",
        "LEASE_SECONDS = 15.0",
        "LEASE_SECONDS = 3.0",
        seed=679,
    ),
    Mutation(
        "what is bad again within a second is a copy",
        "delivery.rules:_is_late_copy",
        "entry.has_seen(state) and entry.newest is not None and not state.is_worse_than(entry.newest)",
        "entry.has_seen(state)",
        seed=35,
    ),
    Mutation(
        "the fallback is told of the first incident alone",
        "sweeper.fallback_notifier:FallbackNotifier._publish",
        """
            debts = [self._debt(each) for each in rows[:MAX_NAMED]]
            return self.fallback.notify(channel, debts, others=len(rows) - len(debts) + unchecked)
        """,
        """
            debts = [self._debt(each) for each in rows[:1]]
            return self.fallback.notify(channel, debts)
        """,
        seed=34,
    ),
    Mutation(
        "a failed signal has no row",
        "delivery.delivery:_recorded_failure.change",
        "now.waiting(task.state, row, task.job.plan) if row else now",
        "now",
        seed=32,
    ),
    Mutation(
        "a state that waits has no row",
        "delivery.delivery:_held",
        "entry.waiting(task.state, row, task.job.plan)",
        "entry.owing(task.state, task.job.plan)",
        seed=2,
    ),
    Mutation(
        "the job of a debt is not stored",
        "ledger.table:Ledger.store",
        "self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)",
        "return",
        seed=1,
    ),
    Mutation(
        "a row outlives its debt",
        "ledger.debt:Debt.settled",
        "Debt(plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)",
        """
            Debt(row=self.row, plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)
        """,
        seed=0,
    ),
    Mutation(
        "a job that nothing wakes is never handed over",
        "sweeper.bells:Bells._ring_one",
        "not is_direct and run.has_queue and not debt_row.is_unbegun",
        "not is_direct and run.has_queue",
        seed=34,
    ),
    Mutation(
        "nobody is told that no page came",
        "delivery.page_followup:Followup._noted",
        "_unpaged_criticals(after, checked)",
        "False",
        seed=23,
    ),
    Mutation(
        "BigPanda is asked as often as there is something to ask",
        "bigpanda.client:RateLimit.wait",
        "self._counted(access, endpoint, second, calls) <= limit",
        "self._counted(access, endpoint, second, calls) or limit",
        seed=118,
    ),
    Mutation(
        "a job sleeps beyond its age",
        "delivery.task:Task.wake_at",
        "min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))",
        "until",
        seed=3,
    ),
    Mutation(
        "the fallback topic is told of a critical when its next attempt is due",
        "sweeper.fallback_notifier:FallbackNotifier._is_to_notify",
        "now - delay_start >= policy.fallback_after_seconds",
        "entry.debt.due <= now and now - delay_start >= policy.fallback_after_seconds",
        seed=34,
    ),
    Mutation(
        "a pause holds no job from the queue",
        "delivery.rules:_pause",
        "case.pause.until if case.pause else 0.0",
        "case.pause.until if case.pause and case.task.is_from_webhook else 0.0",
        seed=83,
    ),
    Mutation(
        "an early end of a pause is not noticed",
        "sweeper.run:is_resumed",
        "debt.paused_until <= now or is_sent or row.channel in policies.unread",
        "True",
        seed=1163,
    ),
    Mutation(
        "the age of a state counts through a pause",
        "channels.routes:age_start",
        "each.since < start + longest and each.until > start",
        "each.since > each.until",
        seed=38,
    ),
    Mutation(
        "the fallback topic is notified in a pause",
        "sweeper.fallback_notifier:FallbackNotifier._is_to_notify",
        "policy.stops_all(now)",
        "policy.stops_all(0.0)",
        seed=924,
    ),
    Mutation(
        "the fallback's time counts through a pause",
        "health.judgement:with_holds",
        "max(ends)",
        "0.0",
        seed=38,
    ),
    Mutation(
        "a share in a pause is sent if the ledger fails",
        "delivery.delivery:without_ledger",
        "(pause := task.pause(now))",
        "(pause := task.pause(now)) and not task.is_from_webhook",
        seed=2921,
    ),
    Mutation(
        "a channel in shadow mode sends",
        "delivery.delivery:Delivery.relay",
        "channel.policy.mode is Mode.SHADOW",
        "channel.policy.mode is None",
        seed=64,
    ),
    Mutation(
        "a share in shadow mode leaves the channel's own entry as it is",
        "delivery.shadow:observe",
        "services.ledger.change(task.entry_key, partial(_settled, task, services.clock()))",
        "pass",
        seed=2470,
    ),
    Mutation(
        "a pause that keeps states leaves them out",
        "channels.routes:Pause.postpones",
        "self.keeps_states or owed_since < self.since",
        "owed_since < self.since",
        seed=38,
    ),
    Mutation(
        "a pause that leaves states out takes those from before with it",
        "channels.routes:Pause.postpones",
        "self.keeps_states or owed_since < self.since",
        "self.keeps_states",
        seed=1383,
    ),
    Mutation(
        "the signal of a flap does not begin its quiet time",
        "ledger.entry:Flap.announcing",
        "replace(self, is_signalled=True) if self.calm_at else self",
        "self",
        seed=205,
    ),
    Mutation(
        "what is worse waits for the end of a flap",
        "ledger.entry:Entry.quiet_until",
        "self.flap.is_signalled and not is_worse",
        "self.flap.is_signalled",
        seed=1240,
    ),
    Mutation(
        "what is worse than what was acknowledged goes to that person alone",
        "delivery.rules:_is_known_as_bad",
        "task.channel.policy.flap is not None and rank is not None and rank <= known.rank",
        "task.channel.policy.flap is not None and rank is not None",
        seed=25,
    ),
    Mutation(
        "an answer ends what was signalled after it",
        "bigpanda.incident_writer:IncidentWriter._resolve_or_snooze",
        """
            if outdated := to_write.outdated():
                return f"(Not {_DONE[action.deed]}: {outdated}.)"
        """,
        """
            if (outdated := to_write.outdated()) and until == 0:
                return f"(Not {_DONE[action.deed]}: {outdated}.)"
        """,
        seed=323,
    ),
    Mutation(
        "an answer to an earlier page ends what was signalled since",
        "bigpanda.callback_writeback:Writeback._to_write",
        "entry.is_overtaken(came, found.signal)",
        "entry.is_overtaken(came)",
        seed=67,
    ),
    Mutation(
        "an answer that is not verified acts",
        "bigpanda.incident_writer:IncidentWriter.write",
        "action is not None and action.changes_incident and to_write.is_verified",
        "action is not None and action.changes_incident",
        seed=25,
    ),
    Mutation(
        "an answer acts in the name of anybody",
        "bigpanda.callback_verification:Verifier._of_page",
        "received.is_acknowledgement or received.counts",
        "received.is_acknowledgement",
        seed=60000078,
    ),
    Mutation(
        "nobody reads why an answer did not act",
        "bigpanda.incident_writer:IncidentWriter.write",
        """
            if undone != "":
                text = comment.text(f"{assigned} {undone or ''}".strip())
                self.rate_limit.wait(to_write.access, "comments")
                self.bigpanda.comment(to_write.access, to_write.incident, text, deadline)
        """,
        """
            if undone is None:
                text = comment.text(f"{assigned} {undone or ''}".strip())
                self.rate_limit.wait(to_write.access, "comments")
                self.bigpanda.comment(to_write.access, to_write.incident, text, deadline)
        """,
        seed=60000068,
    ),
    Mutation(
        "an answer changes nothing",
        "bigpanda.incident_writer:IncidentWriter._resolve_or_snooze",
        "is_snooze and until <= self.clock()",
        "until <= self.clock() + 86400",
        seed=60000078,
    ),
    Mutation(
        "nobody is told of a sick channel",
        "health.announcement:",
        "RUNS_SICK = 2",
        "RUNS_SICK = 200",
        seed=60000042,
    ),
    Mutation(
        "people are told of a sick channel in each run",
        "sweeper.health_watch:HealthWatch._publish",
        "run.health |= self._states(run, message)",
        "self._states(run, message)",
        seed=2,
    ),
    Mutation(
        "a message that the topic refused counts as told",
        "sweeper.health_watch:HealthWatch._publish",
        "self._publish_one(message, deadline)",
        "(self._publish_one(message, deadline) or message.notices)",
        seed=60000080,
    ),
    Mutation(
        "a channel that gets sick and well again sends a message each time",
        "health.announcement:ChannelState._may_tell",
        "now - self.told_at >= TOLD_AGAIN_SECONDS",
        "now >= self.told_at",
        seed=53,
    ),
    Mutation(
        "what waits for the end of a pause makes its channel sick",
        "ledger.entry:Entry.delay_start",
        "max(self.debt.since, self.debt.paused_until, self.quiet_until(self.newest) if self.newest else 0.0)",
        "max(self.debt.since, self.quiet_until(self.newest) if self.newest else 0.0)",
        seed=691,
    ),
    Mutation(
        "a state that waits rings the recipients that its channel had before",
        "delivery.task:Task.of",
        "channel.fitting((*channel.trigger_recipients, *own, *routed, *job.url_recipients))",
        "job.stamps.recipients or channel.fitting((*channel.trigger_recipients, *own, *routed, *job.url_recipients))",
        seed=328,
    ),
    Mutation(
        "a state that a reconcile run found is never too old",
        "delivery.rules:final_reason",
        "now > task.expires_at",
        "now > self.expires_at + (10**7 if Flag.FOUND in self.job.flags else 0)",
        seed=185,
    ),
    Mutation(
        "what a pause held is left alone for a quarter of an hour",
        "sweeper.bells:Bells._is_overdue",
        "entry.debt.due",
        "entry.debt.due + (900 if entry.debt.paused_until else 0)",
        seed=70000114,
    ),
    Mutation(
        "nobody signals an end that BigPanda told of, if its message vanishes",
        "delivery.resolve_questions:ResolveQuestions._over",
        "each.owing_by_row(task.state, row, signal.plan)",
        "each.owing(task.state, signal.plan)",
        seed=19,
    ),
    Mutation(
        "a pause that could not be recorded is slept through although it ends early",
        "delivery.delivery:let_wait",
        "min(wait.until, now + UNGUARDED_AFTER_SECONDS)",
        "wait.until",
        seed=92016474,
    ),
    Mutation(
        "without the ledger, the fallback's time goes on in a pause",
        "entrypoints.worker:_pause_ends",
        "each.since <= now",
        "each.since <= now < each.until",
        seed=127015652,
    ),
    Mutation(
        "an answer acts again after the comment that says why it did not",
        "bigpanda.incident_writer:IncidentWriter.write",
        "may_be_written and self._is_written(to_write, comment, deadline)",
        "may_be_written and not changes and self._is_written(to_write, comment, deadline)",
        seed=676,
    ),
    Mutation(
        "a share's arrival is not pushed behind the newest one when clocks differ",
        "delivery.rules:_state_after_newest",
        "max(state.came, seconds_of(timestamp(newest.came + 0.001)))",
        "task.state.came",
        seed=405,
    ),
    Mutation(
        "members that this version does not know are dropped",
        "ledger.table:encoded",
        "{**entry.others, **members}",
        "members",
        seed=6,
    ),
    Mutation(
        "a stored job expires with its state",
        "delivery.delivery:store_job",
        "max(task.expires_at - now, task.channel.policy.max_age_seconds) + STORED_SECONDS",
        "max(task.expires_at - now, task.channel.policy.max_age_seconds)",
        seed=67,
    ),
    Mutation(
        "a message with a member that this version does not know is unreadable",
        "jobs.queue:read_envelope",
        'members["schema"] != SCHEMA',
        'members["schema"] != SCHEMA or members.keys() - {*Job._fields, "schema"}',
        seed=31,
    ),
    Mutation(
        "the ledger's entry of an open page may expire",
        "ledger.table:",
        "KEPT_SECONDS = 90 * 24 * 3600",
        "KEPT_SECONDS = 300",
        seed=67,
    ),
    Mutation(
        "given-up criticals make no channel's sickness urgent",
        "health.judgement:Debts.unpaged_criticals",
        "self.critical + self.given_up + self.pages_missing",
        "self.critical + self.pages_missing",
        seed=240,
    ),
    Mutation(
        "after an acknowledgement, a flapping incident rings everybody each time it is as bad again",
        "delivery.rules:_is_known_as_bad",
        "rank <= known.rank",
        "rank < known.rank",
        seed=55,
    ),
    Mutation(
        "the end of a pause that is planned delays the fallback topic",
        "health.judgement:with_holds",
        "not each.when and each.since <= now and since < each.until",
        "not each.when and since < each.until",
        seed=244,
    ),
    Mutation(
        "a critical that was held back is sent without the ledger",
        "delivery.delivery:_waits_for_ledger",
        "task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question",
        "task.job.is_revived or task.needs_question",
        seed=88,
    ),
    Mutation(
        "a repeat with renewed credentials forgets that people may have been rung before",
        "xmatters.trigger:XMatters.send",
        "signal.may_repeat or failure.may_have_acted",
        "failure.may_have_acted",
        seed=1051,
    ),
    Mutation(
        "pauses in a row are followed in the order of their storage",
        "channels.routes:age_start",
        "sorted(pauses)",
        "pauses",
        seed=126,
    ),
    Mutation(
        "facts that a share has no more stay in the ledger's entry",
        "delivery.rules:described",
        "known.facts if is_silent else own.facts",
        "known.facts if is_silent else {**known.facts, **own.facts}",
        seed=46,
    ),
    Mutation(
        "a device's notification ends the wait for an answer",
        "ledger.receipt:Receipt.notified",
        "policy.answered_within_seconds > 0",
        "False",
        seed=113,
    ),
    Mutation(
        "a late step is told before its time",
        "ledger.receipt:Receipt._is_late",
        "now >= self._asked_at(limit, policy) + ASKED_BEFORE_SECONDS",
        "now >= self._asked_at(limit, policy)",
        seed=44,
    ),
    Mutation(
        "a critical that comes again has the receipt of the one before",
        "ledger.entry:Entry.announcing",
        "is_anew or not receipt.since",
        "not receipt.since",
        seed=9,
    ),
    Mutation(
        "a receipt has no row of its own",
        "ledger.table:stored_row",
        "entry.is_awaited and not entry.debt.job",
        "False",
        seed=9,
    ),
    Mutation(
        "an unheard critical is told again and again",
        "ledger.entry:Entry.fallback_notified",
        "self.receipt.fallback_notified(missed, at) if is_missed else self.receipt",
        "self.receipt",
        seed=287,
    ),
    Mutation(
        "each follow-up asks xMatters about people",
        "ledger.receipt_prover:ReceiptProver.ask",
        "not is_mine",
        "False",
        seed=1191,
    ),
    Mutation(
        "further recipients are called for each share of an unheard critical",
        "ledger.receipt:Receipt.awaits_others",
        "not self.others_at",
        "True",
        seed=1520,
    ),
    Mutation(
        "the call of further recipients is not owed",
        "sweeper.fallback_notifier:FallbackNotifier._mark",
        "changed.owing_others(self._row_for_others(current, now), now) if has_others else changed",
        "changed",
        seed=79,
    ),
    Mutation(
        "a newer share of an unheard critical is not stored for its further recipients",
        "delivery.delivery:_settle",
        "store_for_others(services, task, note)",
        "pass",
        seed=159,
    ),
    Mutation(
        "a tag that comes late rings nobody",
        "delivery.rules:_further",
        "_rerouted(task, entry, state)",
        "()",
        seed=219,
    ),
    Mutation(
        "a tag that comes late rings all recipients of its route each time",
        "delivery.rules:_rerouted",
        "not any(each.is_for(name) for each in signals)",
        "True",
        seed=558,
    ),
    Mutation(
        "a tag rings whenever it comes",
        "delivery.rules:_rerouted",
        "came - signals[-1].at > policy.reroute_within_seconds or not policy.reroute_within_seconds",
        "False",
        seed=219,
    ),
    Mutation(
        "a message about a missing page follows one about the same critical",
        "ledger.receipt:Receipt.missing",
        "since <= max(self.answered_at, self.told_at, self.others_at)",
        "since <= max(self.answered_at, self.others_at)",
        seed=116,
    ),
    Mutation(
        "an answer to a page from before the critical counts for it",
        "ledger.entry:Entry.awaits_proof_by",
        "signal.at >= self.receipt.since",
        "signal.at >= 0.0",
        seed=9,
    ),
    Mutation(
        "people are told that nobody is left to notify at the deadline only",
        "ledger.receipt:Receipt.after_dead_end",
        "replace(self, missed=Missed.NOBODY_ANSWERED if self.notified_at else Missed.NOBODY_NOTIFIED)",
        "self",
        seed=37,
    ),
    Mutation(
        "a claim is recorded although no queue took its question",
        "delivery.delivery:_settle",
        "question is None or services.outbox.enqueue(question, until=services.clock() + FIRST_QUESTION_SECONDS)",
        "services.outbox and True",
        seed=22,
    ),
    Mutation(
        "a stored job is not stored anew when a pause holds its state",
        "delivery.delivery:_held",
        "is_paused or entry.debt.job != task.job.stored_name",
        "entry.debt.job != task.job.stored_name",
        seed=77,
    ),
    Mutation(
        "a resolve ends the page of the newest signal alone",
        "delivery.page_followup:signals_to_terminate",
        "signal.is_open and signal.at < entry.end.at",
        "signal.is_open and signal.at < entry.end.at and not entry.accepted_signals[index + 2 :]",
        seed=37,
    ),
    Mutation(
        "a resolve ends one page of a signal that has two",
        "delivery.page_followup:terminated",
        """
            for page in ids:
                try:
                    if page not in ended:
                        pages.terminate(rest, page, deadline)
                except BadAnswer as error:
                    if error.http_status in OF_ALL_PAGES:
                        raise
                    refused = refused if refused and not _is_final(refused) else error
        """,
        """
            for page in ids[:1]:
                pages.terminate(rest, page, deadline)
        """,
        seed=89,
    ),
    Mutation(
        "a message that the fallback topic refused counts as told",
        "sweeper.fallback_notifier:FallbackNotifier._notify_some",
        "{channel: due[channel] for channel in notified}",
        "dict(due)",
        seed=41,
    ),
    Mutation(
        "a message that the fallback topic refused delays the next one",
        "sweeper.fallback_notifier:FallbackNotifier._notify_some",
        """
            if notified:
                run.record_notified(self.tools.table, notified, self.tools.clock())
        """,
        "run.record_notified(self.tools.table, list(due), self.tools.clock())",
        seed=144,
    ),
    Mutation(
        "a critical that comes again has no receipt if the one before had no page",
        "ledger.entry:Entry.announcing",
        "audience.awaits_receipt and not audience.is_for_acknowledger",
        "audience.awaits_receipt and not audience.is_for_acknowledger and not receipt.is_open",
        seed=1086,
    ),
    Mutation(
        "people are told that nobody is left to notify at the end of one page of two",
        "ledger.entry:Entry.after_dead_end",
        "len(newest.pages) == 1",
        "True",
        seed=89,
    ),
    Mutation(
        "a missing answer counts only if a device is known to have got the page",
        "ledger.receipt:Receipt.missed_step",
        'Missed.NOBODY_ANSWERED if self._is_late(policy.answered_within_seconds, policy, now) else ""',
        """
            (
                Missed.NOBODY_ANSWERED
                if self.notified_at and self._is_late(policy.answered_within_seconds, policy, now)
                else ""
            )
        """,
        seed=84,
    ),
    Mutation(
        "phones are called only about channels of which the topic took the message",
        "sweeper.fallback_notifier:FallbackNotifier.notify",
        "partial(self._call_phones, run, overdue_by_channel, others)",
        "partial(self._call_phones, run, notified, others)",
        seed=149,
    ),
    Mutation(
        "a message about a receipt counts as the message about the incident's next debt",
        "ledger.entry:Entry.fallback_notified",
        "self.debt.is_notified or is_told",
        "True",
        seed=153,
    ),
    Mutation(
        "the end that BigPanda confirms is routed without the facts of the last share",
        "delivery.resolve_questions:ResolveQuestions.ask",
        "with_facts(answer.share, facts)",
        "answer.share",
        seed=398,
    ),
    Mutation(
        "a resolve that came just now is refuted together with the first one of its claim",
        "ledger.entry:End.answered_open",
        "self.last_claimed_at",
        "self.claimed_at",
        seed=180,
    ),
    Mutation(
        "a callback of a known incident is judged at once, though its signal or page may not be recorded yet",
        "bigpanda.callback_verification:Verifier.judge",
        "found.verdict != Verdict.VERIFIED and is_young",
        "found.verdict == Verdict.STRANGE and is_young",
        seed=182,
    ),
    Mutation(
        "a signal that the limit of its recipients holds stays counted for the channel",
        "ledger.rate_limit_and_circuit:RateLimiter.enter",
        """
            if isinstance(entered, Wait):
                self.leave(Ticket(taken))
                return entered
        """,
        """
            if isinstance(entered, Wait):
                return entered
        """,
        seed=854,
    ),
    Mutation(
        "what is not critical goes at its slot, although criticals wait",
        "ledger.rate_limit_and_circuit:Gate.must_step_back",
        """
            (
                is_critical_waited_for
                or (not is_due and self.is_waited_for(self.other_line_end, limit.spacing, now))
            )
        """,
        """
            (
                not is_due
                and (is_critical_waited_for or self.is_waited_for(self.other_line_end, limit.spacing, now))
            )
        """,
        seed=3,
    ),
    Mutation(
        "a critical waits for minutes since the line of the others is full",
        "ledger.rate_limit_and_circuit:RateLimiter._known_wait",
        "gate.critical_line_end if is_critical else max(gate.critical_line_end, gate.other_line_end)",
        "max(gate.critical_line_end, gate.other_line_end)",
        seed=498,
    ),
    Mutation(
        "a run leaves the debt of an incident that is over in BigPanda",
        "reconcile.comparison:Comparison._is_missed",
        "_is_owed(member, seen, entry) or leaves_pages or is_stale",
        "_is_owed(member, seen, entry) or leaves_pages",
        seed=426,
    ),
    Mutation(
        "an incident is a channel's if it was shared with any of the webhooks that may be the channel's",
        "reconcile.ownership:Ownership.judge",
        "names[channel] <= targets",
        "names[channel] & targets",
        seed=410,
    ),
    Mutation(
        "what is too old waits for the channel's circuit, too, in place of being dead-lettered",
        "sweeper.bells:Bells.ring_overdue",
        "may_ring(row) or self._expires_at(row) < self.tools.clock()",
        "may_ring(row)",
        seed=209,
    ),
    Mutation(
        "the sweeper wakes criticals and others of a channel by turns",
        "sweeper.bells:_interleaved",
        "sorted(placed, key=lambda place: place[:2])",
        "sorted(placed, key=lambda place: (place[1], place[0]))",
        seed=38,
    ),
    Mutation(
        "the sweeper keeps the policies that its first run read",
        "sweeper.run:SweepPolicies.begin_run",
        """
            self.known.clear()
            self.unread.clear()
        """,
        """
            self.unread.clear()
        """,
        seed=77,
    ),
    Mutation(
        "flood control counts from the oldest known signal",
        "delivery.rules:earliest_send_time",
        "entry.signal_times[-FLOOD_CONTROL_SIGNALS]",
        "entry.signal_times[0]",
        seed=70,
    ),
    Mutation(
        "a critical waits for the slot of the milder state before it",
        "delivery.rules:_slot",
        "slot is not None and (slot.is_critical or not task.state.is_critical)",
        "slot is not None",
        seed=123,
    ),
    Mutation(
        "a pause leaves out a newer state of an incident that was owed before it",
        "delivery.rules:_is_left_out",
        "debt.earliest_since(case.task.state.came)",
        "case.task.state.came",
        seed=838,
    ),
    Mutation(
        "an ambiguous signal without the ledger is not remembered",
        "delivery.delivery:_sent",
        "sent.maybe_accepted",
        "sent.failure is None",
        seed=435,
    ),
    Mutation(
        "a critical that failed waits as long as anything else",
        "delivery.delivery:retry_later",
        """
            wait_seconds(
                reason,
                now - task.age_counts_from,
                result.exchange.retry_after,
                services.random(),
                may_have_acted=result.exchange.may_have_acted,
                is_critical=task.state.is_critical,
            )
        """,
        """
            wait_seconds(
                reason,
                now - task.age_counts_from,
                result.exchange.retry_after,
                services.random(),
                may_have_acted=result.exchange.may_have_acted,
            )
        """,
        seed=41,
    ),
    Mutation(
        "of a signal with a known page, a second page is not searched before its pages end",
        "delivery.page_followup:terminated",
        "tuple(dict.fromkeys((*signal.pages, *(page.id for page in found))))",
        "signal.pages or tuple(page.id for page in found)",
        seed=182,
    ),
    Mutation(
        "a further page that a workflow makes after a signal's pages ended is not looked for",
        "delivery.page_followup:signals_to_terminate",
        "not signal.is_over or (signal.at > young_since and not signal.is_page_missing)",
        "not signal.is_over",
        seed=460,
    ),
    Mutation(
        "a later page for other people excuses a critical that made no page",
        "delivery.page_followup:_unpaged_criticals",
        "later.pages and later.reaches_all_of(signal)",
        "later.pages",
        seed=1622,
    ),
    Mutation(
        "each further signal of a critical that was answered, or told of, begins a new receipt",
        "ledger.entry:Entry.announcing",
        """
            (
                begins
                and state.is_critical
                and (newer is None or newer.is_critical)
                and (is_anew or not receipt.since)
            )
        """,
        "begins and state.is_critical and (newer is None or newer.is_critical)",
        seed=79,
    ),
    Mutation(
        "one recipient who could not be notified counts as all of them",
        "ledger.accepted_signal:AcceptedSignal.failed_for_all",
        "bool(self.recipients) and self.failed == self.recipients",
        "bool(self.failed)",
        seed=104,
    ),
    Mutation(
        "an escalation in capitals counts as an answer to the page",
        "ledger.receipt:Receipt.heard",
        "text.strip().lower() not in responses.escalate",
        "text.strip() not in responses.escalate",
        seed=124,
    ),
    Mutation(
        "an answer in BigPanda from before the critical closes its receipt",
        "bigpanda.listing:first_answer",
        'user not in no_people and each.get("type") in ANSWERS and int(since) <= at <= now + CLOCKS_DIFFER_SECONDS',
        'user not in no_people and each.get("type") in ANSWERS and at <= now + CLOCKS_DIFFER_SECONDS',
        seed=415,
    ),
    Mutation(
        "one phone that failed counts as a failure of all ways",
        "sweeper.fallback_notifier:FallbackNotifier._call_phones",
        "not accepted",
        "not failures or any(failures.values())",
        seed=149,
    ),
    Mutation(
        "BigPanda is asked about an end in the environment of the last share alone",
        "delivery.resolve_questions:ResolveQuestions._answer",
        "list(dict.fromkeys(filter(None, (own, *access.environments))))",
        "[own] if own else list(access.environments)",
        seed=18,
    ),
    Mutation(
        "a resolve that BigPanda left unanswered is believed although the incident opened again after it",
        "delivery.resolve_questions:ResolveQuestions._believed",
        """
            newest = question.entry.newest
            if newest and question.entry.is_after_claim(newest):
                self._record(question, lambda end: End(end.at) if end == question.entry.end else end)
                return Result.of_job(question.job, Outcome.DUPLICATE)
            return self._over(question, parse_share(question.job.body), notice=notice)
        """,
        "return self._over(question, parse_share(question.job.body), notice=notice)",
        seed=15,
    ),
    Mutation(
        "signals that xMatters refuses for good open the circuit of the channel",
        "ledger.rate_limit_and_circuit:RateLimiter.report",
        "failure is None or not HANDLING[failure].breaks_circuit",
        "failure is None",
        seed=134,
    ),
    Mutation(
        "a late tag rings further recipients although somebody acknowledged the incident",
        "delivery.rules:_rerouted",
        "not is_routed or not signals or is_quiet or task.share.snoozed",
        "not is_routed or not signals or task.share.snoozed",
        seed=201,
    ),
    Mutation(
        "inline attempts take no heed of the signals of the last minute",
        "delivery.rules:_send",
        "min(MAX_ATTEMPTS, room_for_signals(entry, case.now))",
        "MAX_ATTEMPTS",
        seed=33,
    ),
    Mutation(
        "once the vendors were asked about the device, they are not asked who answered",
        "ledger.receipt:Receipt._questions",
        "limit in awaited and number > self.questions",
        "limit in awaited and self.questions <= EARLY_QUESTIONS",
        seed=750,
    ),
    Mutation(
        "each unanswered question begins BigPanda's silence anew",
        "ledger.entry:End.unanswered",
        "self.silent_since or asked_at",
        "asked_at",
        seed=808,
    ),
    Mutation(
        "the fallback topic is told of a critical that nobody heard although the channel is paused",
        "sweeper.fallback_notifier:FallbackNotifier._is_to_notify",
        "policy.stops_all(now)",
        "policy.stops_all(now) and not self._missed(row)",
        seed=924,
    ),
    Mutation(
        "the end of a snooze is recorded although the incident rang since",
        "reconcile.comparison:Comparison._is_snooze_over",
        "each if was_signalled(each) else each.with_snooze_over()",
        "each.with_snooze_over()",
        seed=3444,
    ),
    Mutation(
        "the sweeper does not invoke the worker for a bell that the queue refused",
        "sweeper.bells:Bells._ring_one",
        "run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job))",
        "(is_direct or debt_row.is_unbegun) and run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job))",
        seed=186,
    ),
    Mutation(
        "while the ledger fails, a state is sent that must not ring any more",
        "delivery.delivery:_waits_for_ledger",
        "has_to or final_reason(task, now) is not None or (not is_urgent and can_wait(task, now))",
        "has_to or (not is_urgent and can_wait(task, now))",
        seed=92,
    ),
    Mutation(
        "a failed state that no queue took is due as late as one with a message",
        "delivery.delivery:_recorded_failure",
        'planned_row(task, result.until or until, services.clock(), has_message=result.queue == "retry")',
        "planned_row(task, result.until or until, services.clock())",
        seed=647,
    ),
    Mutation(
        "a follow-up that found something is not repeated, although a page did not end",
        "delivery.page_followup:Followup._noted",
        "worst and (again is None or not _is_final(worst))",
        "worst and after == entry and (again is None or not _is_final(worst))",
        seed=1352,
    ),
    Mutation(
        "a callback that says that a device got the page is believed, although xMatters can be asked",
        "bigpanda.callback_writeback:Writeback._note_proof",
        "callback.is_delivered() and rest is None",
        "callback.is_delivered()",
        seed=116,
    ),
    Mutation(
        "a page that was over when it was found takes the place of an active one",
        "delivery.page_followup:_takes_over",
        "bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)",
        "bool(newer.pages) and newer.reaches_all_of(older)",
        seed=661,
    ),
    Mutation(
        "an answer after an escalation of the same page is not heard",
        "ledger.receipt:Receipt.heard",
        """
            for name, text in heard.answers:
                if text.strip().lower() not in responses.escalate:
                    return self.answered(name, now)
        """,
        """
            for name, text in heard.answers[:1]:
                if text.strip().lower() not in responses.escalate:
                    return self.answered(name, now)
        """,
        seed=336,
    ),
    Mutation(
        "a share without a status does not take over the status of the newest state",
        "incidents.share:State.with_status_of",
        "self.is_open and self.rank is None",
        "False",
        seed=491,
    ),
    Mutation(
        "a critical that a person snoozed is told to people as unheard",
        "delivery.rules:described",
        "entry.receipt.snoozed(task.state.came) if task.share.snoozed else entry.receipt",
        "entry.receipt",
        seed=43,
    ),
    Mutation(
        "an answer that nobody verified assigns its incident",
        "bigpanda.incident_writer:_is_to_assign",
        "to_write.is_verified and to_write.access.assign",
        "to_write.access.assign",
        seed=337,
    ),
    Mutation(
        "a verified answer assigns nobody",
        "bigpanda.incident_writer:_is_to_assign",
        "to_write.is_verified and to_write.access.assign",
        "False",
        seed=152,
    ),
    Mutation(
        "an acknowledgement that is retried takes the incident from whom a later one assigned",
        "bigpanda.callback_writeback:Writeback._to_write",
        'return "somebody acknowledged it later" if any(later) else ""',
        'return ""',
        seed=548,
    ),
    Mutation(
        "the updates that BigPanda withholds are released by nobody",
        "entrypoints.http_endpoints:take_share",
        "is_held and is_first and result.outcome != Outcome.UNSAFE and result.job",
        "False",
        seed=128,
    ),
    Mutation(
        "a state that kills its workers is given up after fifty of them",
        "delivery.rules:_given_up",
        "begun >= MAX_BEGUN",
        "begun >= 50",
        seed=26,
    ),
    Mutation(
        "of many channels that get sick at once, people are told of one",
        "sweeper.health_watch:_together",
        "[ordered] if len(ordered) >= MANY else [[each] for each in ordered]",
        "[ordered[:1]]",
        seed=90,
    ),
    Mutation(
        "a body that is cut loses the facts that routes ask about",
        "jobs.reduced_body:_facts",
        "size <= room",
        "False",
        seed=428,
    ),
    Mutation(
        "a recipient of the URL that the channel does not allow rings",
        "channels.channel:Channel.permits",
        "allowed is None or name in allowed",
        "True",
        seed=251,
    ),
    Mutation(
        "an update of a critical that nobody heard rings no further recipients",
        "delivery.rules:_judged",
        "(*recipients, *others)",
        "recipients",
        seed=915,
    ),
    Mutation(
        "a job that is replayed while the ledger fails rings unasked after two minutes",
        "delivery.delivery:_waits_for_ledger",
        "task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question",
        "Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question",
        seed=203,
    ),
    Mutation(
        "a resumed pause holds what it held as long as another pause goes on",
        "sweeper.run:is_resumed",
        "each.is_active(now) and each.id == debt.paused_by",
        "each.is_active(now)",
        seed=71,
    ),
    Mutation(
        "a canary that failed once judges no more",
        "sweeper.canary:Canary.begun",
        "replace(self, phase=Phase.OPENING, began=round(now), ended=0.0, is_decided=False)",
        "replace(self, phase=Phase.OPENING, began=round(now), ended=0.0)",
        seed=796,
    ),
    Mutation(
        "a critical that is found in a pause counts as reported",
        "reconcile.reconciler:Reporter._notified",
        "return others",
        "return list(found)",
        seed=36,
    ),
    Mutation(
        "the same answer on the same page is not given again",
        "incidents.callback:Callback.digest",
        "json.dumps(self)",
        "json.dumps(self[:-1])",
        seed=182,
    ),
    Mutation(
        "a follow-up of a signal that waited for hours expires unworked",
        "jobs.queue:_chore",
        "job.fresh()._replace(kind=kind, accepted=None, dead_lettered_at=None, revived_at=timestamp(now))",
        "job.fresh()._replace(kind=kind, accepted=None, dead_lettered_at=None)",
        seed=1706,
    ),
    Mutation(
        "an earlier acknowledgement that is worked late replaces a later one",
        "ledger.entry:Entry.acknowledged",
        "came < self.acknowledgement.at",
        "came == self.acknowledgement.at",
        seed=548,
    ),
    Mutation(
        "an entry keeps its oldest signals, and forgets the newest",
        "ledger.accepted_signal:with_signal",
        "tuple(sorted((*signals, signal), key=lambda each: each.at)[-MAX_ACCEPTED_SIGNALS:])",
        "tuple(sorted((*signals, signal), key=lambda each: each.at)[:MAX_ACCEPTED_SIGNALS])",
        seed=355,
    ),
    Mutation(
        "a question that xMatters left without an answer is not asked again",
        "ledger.receipt_prover:ReceiptProver.ask",
        "lambda each: replace(each, questions=before)",
        "lambda each: each",
        seed=82,
    ),
    Mutation(
        "a pause that no mark can tell of is learnt minutes later",
        "channels.cache:ChannelCache._for_work",
        "copy is None or not (is_outdated or self._change_marks.are_unread)",
        "copy is None or not is_outdated",
        seed=214,
    ),
    Mutation(
        "a failed search for a comment ends the doubt if it was written",
        "bigpanda.callback_writeback:Writeback._write_once",
        "leased.in_doubt or error.may_have_acted",
        "error.may_have_acted",
        seed=101,
    ),
    Mutation(
        "the fallback topic is not told of a critical that comes back while its resolve is owed",
        "ledger.entry:Entry._with_newest",
        "is_reopened and (debt.is_notified or self.eased)",
        "is_reopened and self.eased",
        seed=105,
    ),
    Mutation(
        "no proof is awaited of a critical that was shared again while it was sent",
        "ledger.entry:Entry.announcing",
        "newer is None or newer.is_critical",
        "newer is None",
        seed=908,
    ),
    Mutation(
        "a state that a pause kept is left out by a pause that lasts longer",
        "delivery.rules:_is_left_out",
        "not pause.postpones(debt.earliest_since(case.task.state.came)) and not debt.paused_until",
        "not pause.postpones(debt.earliest_since(case.task.state.came))",
        seed=223,
    ),
    Mutation(
        "a log-in page counts as a vendor's answer",
        "http.session:HttpAnswer.is_success",
        "200 <= self.status < 300 and not self.is_web_page",
        "200 <= self.status < 300",
        seed=1130,
    ),
    Mutation(
        "a proxy's 404 says that xMatters has no such person",
        "xmatters.directory:RestApi.ask",
        "answer.status == 404 and not _says_not_found(answer)",
        "False",
        seed=81,
    ),
)
