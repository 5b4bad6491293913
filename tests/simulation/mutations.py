"""Deliberate faults for mutation tests. Each is written into the relay's library, and a schedule must find it.

The faults are written as in a diff: the name, the place with the seed, the right code (-) and the wrong code (+).
"""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NOTE = re.compile(r"^(?:#.*)?\n", re.MULTILINE)
_FAULT = re.compile(r"(?P<name>\S.*)\n    (?P<place>[^\s,]+)(?:, seed (?P<seed>\d+))?\n(?P<code>(?:    [-+] .*\n)+)")


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


def faults(text: str, simulation: str = "simulation") -> tuple[Mutation, ...]:
    """Return the faults in a text that has each as in a diff. Raises ValueError if the text has anything else."""
    text = _NOTE.sub("", text)
    found = list(_FAULT.finditer(text))
    if "".join(fault[0] for fault in found) != text:
        raise ValueError("a part of the text is no fault")
    return tuple(
        Mutation(
            fault["name"],
            fault["place"],
            _code(fault["code"], "-"),
            _code(fault["code"], "+"),
            int(fault["seed"] or 0),
            simulation,
        )
        for fault in found
    )


def _code(lines: str, sign: str) -> str:
    return "\n".join(line[6:] for line in lines.splitlines() if line[4] == sign)


MUTATIONS = faults("""
a job is let go although its copy was not taken
    entrypoints.worker:Worker._put_back_if_waiting, seed 8
    - self.outbox.enqueue(again, until=seconds_of(again.not_before or again.received_at))
    + self.outbox.enqueue(again, until=seconds_of(again.not_before or again.received_at)) or True
partial failures are ignored
    entrypoints.worker:Worker.work, seed 8
    - not self._handled_or_counted(record)
    + not self._handled_or_counted(record) and not record
a share is sent without being kept first
    delivery.delivery:attempt, seed 5
    - keep(services, task, wait, plan=next_plan(task, entry))
    + replace(task, wakes_at=wait.until)
duplicate is answered against a share that nobody kept
    ledger.entry:Entry.leased, seed 111
    - entry if plan is None else entry.owing(lease.state, plan)
    + entry.owing(lease.state, plan or 0)
the lease is dropped
    ledger.entry:Entry.is_busy, seed 20
    - self.lease is not None and now < self.lease.until
    + False
an expired lease is forgotten, not doubted
    ledger.entry:Entry._without_lease, seed 715
    - self if self.lease is None else replace(self, lease=None)._doubting(self.lease.state)
    + replace(self, lease=None)
what may have paged is forgotten
    ledger.entry:Entry.failed, seed 14
    - entry._doubting(lease.state)
    + entry
owed is measured against what was seen
    ledger.entry:Entry.maybe_announced, seed 2
    - self.announced
    + self.newest or self.announced
a signal in flight is not looked at
    ledger.entry:Entry.maybe_announced, seed 75
    - (self.announced, *self.doubtful, *in_flight)
    + (self.announced, *self.doubtful)
versions are compared by updatedOn alone
    incidents.share:Share.version, seed 19
    - (self.changed_on, self.updated_on)
    + (self.updated_on,)
versions are compared by changedOn alone
    incidents.share:Share.version, seed 17
    - (self.changed_on, self.updated_on)
    + (self.changed_on,)
a wrong clock is believed
    incidents.share:Share.trusted_version, seed 17
    - None if version and version[0] > came + MAX_AHEAD_SECONDS else version
    + version
what got better unheard is forgotten
    ledger.entry:Entry.unchanged, seed 3
    - state.without_alerts() if self.is_eased_by(state) else None
    + None
an incident of other recipients is another one
    delivery.task:entry_key_of
    - job.url_recipients
    + job.stamps.recipients
signals of an incident need no time in between
    delivery.rules:earliest_send_time, seed 6
    - entry.signal_times[-1] + min_seconds
    + entry.signal_times[-1]
a signal that may have paged is tried again within seconds
    failures:, seed 119
    - AMBIGUOUS_WAIT_SECONDS = 30.0
    + AMBIGUOUS_WAIT_SECONDS = 3.0
the circuit never opens
    ledger.rate_limit_and_circuit:, seed 4
    - FAILURES_IN_A_ROW = 5
    + FAILURES_IN_A_ROW = 5000
Retry-After is not kept
    ledger.rate_limit_and_circuit:RateLimiter.report, seed 32
    - {"open_until": now + pause}
    + {"open_until": now}
the pace counts half of the minute
    ledger.rate_limit_and_circuit:, seed 29
    - WINDOW_SECONDS = 61
    + WINDOW_SECONDS = 31
the worker sends nothing
    entrypoints.worker:Worker._done, seed 1
    - self._own_wait(job, channel.policy)
    + Wait(Reason.PACED, self.clock() + 600)
what passes by itself is dead-lettered at once
    delivery.delivery:_record_failure, seed 34
    - HANDLING[result.reason or Reason.INTERNAL].is_final
    + HANDLING[result.reason or Reason.INTERNAL].is_final or result.reason == Reason.UPSTREAM
the message with the recorded plan is dropped
    delivery.rules:judge_job, seed 1
    - plan >= entry.debt.plan
    + plan > entry.debt.plan
a bell has the plan of the stored job
    sweeper.bells:Bells._ring_one, seed 34
    - job.planned(row.entry.debt.plan)
    + job.planned(job.plan)
the fallback topic is never told
    delivery.sns_topic:publish, seed 9
    - client().publish
    + lambda **_: None
the fallback is not thought of once the job is dead-lettered
    ledger.debt:Debt.dead_lettered, seed 3
    - Row(due)
    + None
the page of a resolve ends with the others
    delivery.page_followup:signals_to_terminate, seed 9
    - signal.is_open and signal.at < entry.end.at
    + signal.at <= entry.end.at
a resolve that nobody announces leaves its pages
    delivery.rules:with_end, seed 84
    - action.note or entry
    + entry
a newer page ends another team's
    ledger.accepted_signal:AcceptedSignal.reaches_all_of, seed 591
    - set(_split(older.recipients)) <= set(_split(self.recipients))
    + True
500, 502 and 504 are taken for a signal that did not ring
    failures:is_ambiguous_status, seed 83
    - status >= 500 and status != 503
    + False
a warning that may have paged is tried again at once
    xmatters.trigger:XMatters.send, seed 119
    - repeats_if_ambiguous and sent.maybe_accepted == 1 and failure.may_have_acted
    + sent.maybe_accepted == 1 and failure.may_have_acted
what may have paged is not marked when it is repeated
    delivery.task:send_signal, seed 13
    - Flag.MAY_HAVE_PAGED in job.flags or is_repeat
    + False
a page is looked for once
    delivery.page_followup:Followup._without_known_page, seed 11
    - not signal.is_page_missing
    + now - signal.at < 40
a replacement that is not there yet ends the page before
    delivery.page_followup:_takes_over, seed 15
    - bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)
    + not newer.is_over and newer.reaches_all_of(older)
each signal of an incident has a chain of follow-ups of its own
    delivery.page_followup:Followup._noted, seed 1408
    - after.announced is not None and after.announced.came > came + MILLISECOND
    + False
nobody follows what the worker sent
    entrypoints.worker:Worker._follow, seed 11
    - is_queued = self.outbox.enqueue(followup_job(result.job or job, now), until=now + delay)
    + is_queued = True
the page of an incident that opens again ends before the new one
    delivery.page_followup:signals_to_terminate, seed 3438
    - is_resolved and not entry.opens_again
    + is_resolved
the pages of an end that nobody was told of are followed by nobody
    delivery.delivery:_follow_end, seed 84
    - task.channel.rest is None or not before.has_pages or not is_new or is_followed
    + True
an incident that opens again before its end was announced rings nobody
    ledger.entry:Entry.ended_unannounced, seed 216
    - state.without_alerts() if self.is_eased_by(state) else self.eased
    + self.eased
a resolve that xMatters does not accept leaves its pages ringing
    delivery.rules:with_end, seed 5218
    - entry.ended_unannounced(task.state)
    + entry.ended_unannounced(task.state) if isinstance(action, DeadLetter) else entry
the fallback topic is told once, however often an incident opens again
    ledger.entry:Entry._with_newest, seed 44227
    - is_reopened and (debt.is_notified or self.eased)
    + False
a state that is newer than a claimed resolve waits for the answer
    ledger.entry:Entry.claim_hold, seed 15
    - not self.end.is_claimed or not state.is_open or self.is_after_claim(state)
    + not self.end.is_claimed or not state.is_open
a time-out of BigPanda counts as the relay's own delay
    delivery.resolve_questions:ResolveQuestions._answer, seed 945
    - error.reason == Reason.TIMEOUT and not calls
    + error.reason == Reason.TIMEOUT
a callback is answered before it is kept
    entrypoints.http_endpoints:take_callback, seed 75
    - outbox.enqueue(job, until=now)
    + outbox.enqueue(job, until=now) or True
a comment that may stand there is written again
    bigpanda.callback_writeback:Writeback._write_once, seed 45
    - replace(progress, in_doubt=progress.in_doubt or progress.until > 0, until=now + WRITEBACK_LEASE_SECONDS)
    + replace(progress, until=now + WRITEBACK_LEASE_SECONDS)
a callback that comes twice is written twice
    bigpanda.callback_writeback:Writeback._write_once, seed 2
    - progress.is_written
    + progress.is_written and progress.in_doubt
a comment that BigPanda did not take is given up
    entrypoints.worker:Chores.do, seed 957
    - if result.outcome == Outcome.UNSAFE and result.exchange.attempts and self.clock() - began > SLOW_SECONDS:
    -     self.silent[api] = self.clock() + SILENT_SECONDS
    + if result.reason == Reason.UPSTREAM:
    +     return replace(result, outcome=Outcome.UNCHANGED)
    + if result.outcome == Outcome.UNSAFE and result.exchange.attempts and self.clock() - began > SLOW_SECONDS:
    +     self.silent[api] = self.clock() + SILENT_SECONDS
the order of shares does not matter
    incidents.share:State.precedes, seed 1
    - came_before or not self.has_borrowed_version
    + False
a job that was overtaken is sent all the same
    delivery.rules:judge_job, seed 2
    - Judgement(Standing.DUPLICATE if is_announced else Standing.SUPERSEDED)
    + judge_change(entry, state, notify_on)
a newer state stays among the dead letters with the one before it
    ledger.entry:Entry._with_newest, seed 117
    - replace(debt, attempts=0, reason="", dead_lettered_at=0.0, revived_at=0.0)
    + replace(debt, attempts=0, reason="", revived_at=0.0)
a write of the ledger is not conditional
    ledger.table:Table.write, seed 6
    - None if written is None else before + 1
    + before + 1
flood control is not thought of
    delivery.rules:, seed 13
    - FLOOD_CONTROL_SIGNALS = 4
    + FLOOD_CONTROL_SIGNALS = 40
jobs do not ask the pace
    delivery.delivery:_act, seed 1
    - _entered(services, task, entry)
    + Ticket({}) if not task.is_from_webhook else _entered(services, task, entry)
what came once is not looked for again
    delivery.rules:was_shared, seed 11
    - entry.is_busy(now)
    + entry.sequence
a snooze that is over is not news
    ledger.entry:Entry.with_snooze_over, seed 238
    - replace(self, eased=_as_over(announced)) if announced and announced.is_open else self
    + self
a route is chosen and not taken
    delivery.task:Task.of
    - (*channel.trigger_recipients, *own, *routed, *job.url_recipients)
    + (*channel.trigger_recipients, *channel.recipients, *job.url_recipients)
what is as announced is never news, though a snooze ended
    delivery.rules:judge_job, seed 11562
    - is_announced and not entry.eased and not is_owed_anew
    + is_announced and not is_owed_anew
a page of what is over goes on for minutes
    delivery.page_followup:Followup._again, seed 954
    - min(max(wait, SHORTEST_SEARCH_WAIT_SECONDS), LONGEST_SEARCH_WAIT_SECONDS)
    + 170.0
a comment is news
    incidents.share:, seed 2
    - _ONCALL | {Transition.EASED}
    + _ONCALL | {Transition.EASED, Transition.TOUCHED}
a fast fail of the circuit counts as a try
    delivery.delivery:queue_message, seed 3
    - task.job.planned(task.job.plan if plan is None else plan)
    + task.job.after_attempts(1).planned(task.job.plan if plan is None else plan)
what xMatters refuses is thrown away
    delivery.delivery:dead_letter, seed 2
    - services.outbox.dead_letter(job)
    + replace(job.waiting(job.stamps.reason, 0.0), dead_lettered_at=job.received_at)
what comes back from the dead-letter queue is dead-lettered still
    delivery.rules:judge_job, seed 10
    - dead_lettered_at >= entry.debt.dead_lettered_at
    + dead_lettered_at > entry.debt.dead_lettered_at
the fallback is told of each at once
    sweeper.fallback_notifier:, seed 34
    - NOTIFIED_AGAIN_SECONDS = 300.0
    + NOTIFIED_AGAIN_SECONDS = 0.0

# Priority
criticals do not go first
    delivery.delivery:_entered, seed 3
    - services.rate_limiter.enter(task.channel, task.recipients, is_critical=is_critical, slot=slot)
    + services.rate_limiter.enter(task.channel, task.recipients, is_critical=False, slot=slot)
a critical gets a moment in the line of the others
    ledger.rate_limit_and_circuit:RateLimiter._set_aside, seed 3
    - ("critical", gate.critical_line_end) if is_critical else ("other", gate.other_line_end)
    + ("other", gate.other_line_end)
a share that met a lease sleeps until the lease would end
    delivery.delivery:_record_acceptance, seed 563
    - _wake_next(services, task, recorded)
    - owe_to_others(services, task, recorded)
    - return result
    + return result

# Time
the fallback topic is told ten times later
    sweeper.fallback_notifier:FallbackNotifier._is_to_notify, seed 34
    - policy.fallback_after_seconds
    + 10 * policy.fallback_after_seconds
a message that vanished is not replaced
    sweeper.bells:Bells._is_overdue, seed 2
    - bool(entry.debt.job) and is_due and not entry.is_busy(now)
    + False
a backoff lasts for hours
    failures:, seed 24
    - LONGEST_WAIT_SECONDS = 900.0
    + LONGEST_WAIT_SECONDS = 9000.0
the backoff of a critical doubles as that of others
    failures:wait_seconds, seed 95
    - CRITICAL_WAIT_SECONDS if is_critical and not may_have_acted else LONGEST_WAIT_SECONDS
    + LONGEST_WAIT_SECONDS
a kept job sleeps for a quarter of an hour
    delivery.delivery:, seed 95
    - FIRST_WAKE_SECONDS = 36.0
    + FIRST_WAKE_SECONDS = 900.0
the circuit is half open for ever
    ledger.rate_limit_and_circuit:RateLimiter._wait_for_probe, seed 13
    - self._after(now + SPREAD_SECONDS, is_critical=is_critical) if probes is None else None
    + self._after(now + SPREAD_SECONDS, is_critical=is_critical)
a circuit stays open for an hour
    ledger.rate_limit_and_circuit:, seed 13
    - OPEN_SECONDS = 30.0
    + OPEN_SECONDS = 3600.0
a resolve waits for its distance
    delivery.rules:, seed 97
    - {Transition.WORSENED, Transition.RESOLVED, Transition.UNANSWERED}
    + {Transition.WORSENED, Transition.UNANSWERED}
what got worse waits for its distance
    delivery.rules:, seed 97
    - {Transition.WORSENED, Transition.RESOLVED, Transition.UNANSWERED}
    + {Transition.RESOLVED, Transition.UNANSWERED}
unused pace is never given back
    ledger.rate_limit_and_circuit:RateLimiter.leave, seed 97
    - ticket.taken.items()
    + ()
an asker that found no room stays counted
    ledger.rate_limit_and_circuit:RateLimiter._set_aside, seed 25
    - {count_name(int(now)): -1}
    + {count_name(int(now)): 0}
a job lives twice as long as it may
    delivery.rules:final_reason, seed 3
    - now > task.expires_at
    + now > self.expires_at + self.channel.policy.max_age_seconds

# Recipients
webhooks whose URLs name recipients share an entry
    delivery.task:entry_key_of, seed 6
    - job.url_recipients
    + ()
the recipients in a webhook's URL are not rung
    delivery.task:Task.of, seed 6
    - (*channel.trigger_recipients, *own, *routed, *job.url_recipients)
    + (*channel.trigger_recipients, *own, *routed)
the recipients in a webhook's URL are rung alone
    delivery.task:Task.of, seed 6
    - (*channel.trigger_recipients, *own, *routed, *job.url_recipients)
    + job.url_recipients or (*own, *routed)
channels share an entry
    ledger.entry:entry_key, seed 1
    - f"incident/{channel}/{recipients_name(recipients)}/{legal_id(incident_id)}"
    + f"incident/{recipients_name(recipients)}/{legal_id(incident_id)}"
channels share a gate
    ledger.rate_limit_and_circuit:limits_of, seed 9
    - gate_of(channel.name)
    + "gate/all"
an old acknowledgement silences others
    ledger.entry:Entry.acknowledged, seed 369
    - is_early or is_second or self.is_overtaken(came, answered, as_acknowledgement=True)
    + False
what got worse rings the acknowledger alone
    delivery.rules:, seed 321
    - {Transition.OPENED, Transition.WORSENED, Transition.REOPENED}
    + {Transition.OPENED, Transition.REOPENED}
an acknowledgement outlives what it answered
    ledger.entry:Entry.announcing, seed 510
    - audience.is_for_acknowledger and state.is_open
    + audience

# Capacity
the gate keeps the counts of all seconds
    ledger.rate_limit_and_circuit:Gate.stale, seed 41
    - [count_name(second) for second in self.counts if second <= now - WINDOW_SECONDS - 1]
    + []
each job is kept twice
    jobs.queue:Outbox.enqueue, seed 4
    - return self._put(self.chores if job.kind in CHORES else self.retries, job, delay)
    + return all([self._put(self.chores if job.kind in CHORES else self.retries, job, delay) for _ in range(2)])
a success is told to the circuit each time
    ledger.rate_limit_and_circuit:RateLimiter.report, seed 255
    - if ticket.troubled:
    -     self._update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])
    + for _ in range(3):
    +     self._update(gate, remove=["failures", "open_until", "probed_at", "critical_probed_at"])

# Credentials
a new token of BigPanda's is not read
    channels.authentication:Authenticator._looked_up, seed 38
    - self.channels.for_refusal
    + self.channels.for_authentication
a key that was refused is not read again
    xmatters.trigger:XMatters._renewed, seed 16
    - self._channels.refresh(channel.name)
    + channel
a key that was refused at the last attempt is not read again
    xmatters.trigger:XMatters.send, seed 16
    - failure.reason == Reason.CREDENTIALS and not is_renewed
    + failure.reason == Reason.CREDENTIALS and not is_renewed and attempts_left
no last good secret is kept
    channels.cache:ChannelCache._read_again
    - return copy.channel
    + raise

# Loss and order
a lease lasts for three seconds
    ledger.entry:, seed 679
    - LEASE_SECONDS = 15.0
    + LEASE_SECONDS = 3.0
what is bad again within a second is a copy
    delivery.rules:_is_late_copy, seed 35
    - entry.has_seen(state) and entry.newest is not None and not state.is_worse_than(entry.newest)
    + entry.has_seen(state)
the fallback is told of the first incident alone
    sweeper.fallback_notifier:FallbackNotifier._publish, seed 34
    - self.fallback.notify(channel, debts, others=len(rows) - len(debts) + unchecked)
    + self.fallback.notify(channel, debts[:1])
a failed signal has no row
    delivery.delivery:_recorded_failure.change, seed 32
    - now.waiting(task.state, row, task.job.plan) if row else now
    + now
a state that waits has no row
    delivery.delivery:_held, seed 2
    - entry.waiting(task.state, row, task.job.plan)
    + entry.owing(task.state, task.job.plan)
the job of a debt is not stored
    ledger.table:Ledger.store, seed 1
    - self.table.store(stored_key(name, stored_name), envelope, lasts=lasts)
    + return
a row outlives its debt
    ledger.debt:Debt.settled
    - Debt(plan=self.plan, attempts=self.attempts, reason=self.reason, revived_at=self.revived_at)
    + replace(self, since=None, is_notified=False, slot=None)
a job that nothing wakes is never handed over
    sweeper.bells:Bells._ring_one, seed 34
    - not is_direct and run.has_queue and not debt_row.is_unbegun
    + not is_direct and run.has_queue
nobody is told that no page came
    delivery.page_followup:Followup._noted, seed 23
    - _unpaged_criticals(after, checked)
    + False
BigPanda is asked as often as there is something to ask
    bigpanda.client:RateLimit.wait, seed 118
    - self._counted(access, endpoint, second, calls) <= limit
    + self._counted(access, endpoint, second, calls) or limit
a job sleeps beyond its age
    delivery.task:Task.wake_at, seed 3
    - min(until, max(self.expires_at + PAST_AGE_SECONDS, now + SOON_SECONDS))
    + until
the fallback topic is told of a critical when its next attempt is due
    sweeper.fallback_notifier:FallbackNotifier._is_to_notify, seed 34
    - now - delay_start >= policy.fallback_after_seconds
    + entry.debt.due <= now and now - delay_start >= policy.fallback_after_seconds
a pause holds no job from the queue
    delivery.rules:_pause, seed 83
    - case.pause.until if case.pause else 0.0
    + case.pause.until if case.pause and case.task.is_from_webhook else 0.0
an early end of a pause is not noticed
    sweeper.run:is_resumed, seed 1163
    - debt.paused_until <= now or is_sent or row.channel in policies.unread
    + True
the age of a state counts through a pause
    channels.routes:age_start, seed 38
    - each.since < start + longest and each.until > start
    + each.since > each.until
the fallback topic is notified in a pause
    sweeper.fallback_notifier:FallbackNotifier._is_to_notify, seed 924
    - policy.stops_all(now)
    + policy.stops_all(0.0)
the fallback's time counts through a pause
    health.judgement:with_holds, seed 38
    - max(ends)
    + 0.0
a share in a pause is sent if the ledger fails
    delivery.delivery:without_ledger, seed 2921
    - (pause := task.pause(now))
    + (pause := task.pause(now)) and not task.is_from_webhook
a channel in shadow mode sends
    delivery.delivery:Delivery.relay, seed 64
    - channel.policy.mode is Mode.SHADOW
    + channel.policy.mode is None
a share in shadow mode leaves the channel's own entry as it is
    delivery.shadow:observe, seed 2470
    - services.ledger.change(task.entry_key, partial(_settled, task, services.clock()))
    + pass
a pause that keeps states leaves them out
    channels.routes:Pause.postpones, seed 38
    - self.keeps_states or owed_since < self.since
    + owed_since < self.since
a pause that leaves states out takes those from before with it
    channels.routes:Pause.postpones, seed 1383
    - self.keeps_states or owed_since < self.since
    + self.keeps_states
the signal of a flap does not begin its quiet time
    ledger.entry:Flap.announcing, seed 205
    - replace(self, is_signalled=True) if self.calm_at else self
    + self
what is worse waits for the end of a flap
    ledger.entry:Entry.quiet_until, seed 1240
    - self.flap.is_signalled and not is_worse
    + self.flap.is_signalled
what is worse than what was acknowledged goes to that person alone
    delivery.rules:_is_known_as_bad, seed 25
    - task.channel.policy.flap is not None and rank is not None and rank <= known.rank
    + task.channel.policy.flap is not None and rank is not None
an answer ends what was signalled after it
    bigpanda.incident_writer:IncidentWriter._resolve_or_snooze, seed 323
    - (outdated := to_write.outdated())
    + (outdated := to_write.outdated()) and until == 0
an answer to an earlier page ends what was signalled since
    bigpanda.callback_writeback:Writeback._to_write, seed 67
    - entry.is_overtaken(came, found.signal)
    + entry.is_overtaken(came)
an answer that is not verified acts
    bigpanda.incident_writer:IncidentWriter.write, seed 25
    - action is not None and action.changes_incident and to_write.is_verified
    + action is not None and action.changes_incident
an answer acts in the name of anybody
    bigpanda.callback_verification:Verifier._of_page, seed 60000078
    - received.is_acknowledgement or received.counts
    + received.is_acknowledgement
nobody reads why an answer did not act
    bigpanda.incident_writer:IncidentWriter.write, seed 60000068
    - undone != ""
    + undone is None
an answer changes nothing
    bigpanda.incident_writer:IncidentWriter._resolve_or_snooze, seed 60000078
    - is_snooze and until <= self.clock()
    + until <= self.clock() + 86400
nobody is told of a sick channel
    health.announcement:, seed 60000042
    - RUNS_SICK = 2
    + RUNS_SICK = 200
people are told of a sick channel in each run
    sweeper.health_watch:HealthWatch._publish, seed 2
    - run.health |= self._states(run, message)
    + self._states(run, message)
a message that the topic refused counts as told
    sweeper.health_watch:HealthWatch._publish, seed 60000080
    - self._publish_one(message, deadline)
    + (self._publish_one(message, deadline) or message.notices)
a channel that gets sick and well again sends a message each time
    health.announcement:ChannelState._may_tell, seed 53
    - now - self.told_at >= TOLD_AGAIN_SECONDS
    + now >= self.told_at
what waits for the end of a pause makes its channel sick
    ledger.entry:Entry.delay_start, seed 691
    - max(self.debt.since, self.debt.paused_until, self.quiet_until(self.newest) if self.newest else 0.0)
    + max(self.debt.since, self.quiet_until(self.newest) if self.newest else 0.0)
a state that waits rings the recipients that its channel had before
    delivery.task:Task.of, seed 328
    - channel.fitting((*channel.trigger_recipients, *own, *routed, *job.url_recipients))
    + job.stamps.recipients or channel.fitting((*channel.trigger_recipients, *own, *routed, *job.url_recipients))
a state that a reconcile run found is never too old
    delivery.rules:final_reason, seed 185
    - now > task.expires_at
    + now > self.expires_at + (10**7 if Flag.FOUND in self.job.flags else 0)
what a pause held is left alone for a quarter of an hour
    sweeper.bells:Bells._is_overdue, seed 70000114
    - entry.debt.due
    + entry.debt.due + (900 if entry.debt.paused_until else 0)
nobody signals an end that BigPanda told of, if its message vanishes
    delivery.resolve_questions:ResolveQuestions._over, seed 19
    - each.owing_by_row(task.state, row, signal.plan)
    + each.owing(task.state, signal.plan)
a pause that could not be recorded is slept through although it ends early
    delivery.delivery:let_wait, seed 92016474
    - min(wait.until, now + UNGUARDED_AFTER_SECONDS)
    + wait.until
without the ledger, the fallback's time goes on in a pause
    entrypoints.worker:_pause_ends, seed 127015652
    - each.since <= now
    + each.since <= now < each.until
an answer acts again after the comment that says why it did not
    bigpanda.incident_writer:IncidentWriter.write, seed 676
    - may_be_written and self._is_written(to_write, comment, deadline)
    + may_be_written and not changes and self._is_written(to_write, comment, deadline)
a share's arrival is not pushed behind the newest one when clocks differ
    delivery.rules:_state_after_newest, seed 405
    - max(state.came, seconds_of(timestamp(newest.came + 0.001)))
    + task.state.came
members that this version does not know are dropped
    ledger.table:encoded, seed 6
    - {**entry.others, **members}
    + members
a stored job expires with its state
    delivery.delivery:store_job, seed 67
    - max(task.expires_at - now, task.channel.policy.max_age_seconds) + STORED_SECONDS
    + max(task.expires_at - now, task.channel.policy.max_age_seconds)
a message with a member that this version does not know is unreadable
    jobs.queue:read_envelope, seed 31
    - members["schema"] != SCHEMA
    + members["schema"] != SCHEMA or members.keys() - {*Job._fields, "schema"}
the ledger's entry of an open page may expire
    ledger.table:, seed 67
    - KEPT_SECONDS = 90 * 24 * 3600
    + KEPT_SECONDS = 300
given-up criticals make no channel's sickness urgent
    health.judgement:Debts.unpaged_criticals, seed 240
    - self.critical + self.given_up
    + self.critical
after an acknowledgement, a flapping incident rings everybody each time it is as bad again
    delivery.rules:_is_known_as_bad, seed 55
    - rank <= known.rank
    + rank < known.rank
the end of a pause that is planned delays the fallback topic
    health.judgement:with_holds, seed 244
    - not each.when and each.since <= now and since < each.until
    + not each.when and since < each.until
a critical that was held back is sent without the ledger
    delivery.delivery:_waits_for_ledger, seed 88
    - task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question
    + task.job.is_revived or task.needs_question
a repeat with renewed credentials forgets that people may have been rung before
    xmatters.trigger:XMatters.send, seed 1051
    - signal.may_repeat or failure.may_have_acted
    + failure.may_have_acted
pauses in a row are followed in the order of their storage
    channels.routes:age_start, seed 126
    - sorted(pauses)
    + pauses
facts that a share has no more stay in the ledger's entry
    delivery.rules:described, seed 46
    - known.facts if is_silent else own.facts
    + known.facts if is_silent else {**known.facts, **own.facts}
a device's notification ends the wait for an answer
    ledger.receipt:Receipt.notified, seed 113
    - policy.answered_within_seconds > 0
    + False
a late step is told before its time
    ledger.receipt:Receipt._is_late, seed 44
    - now >= self._asked_at(limit, policy) + ASKED_BEFORE_SECONDS
    + now >= self._asked_at(limit, policy)
a critical that comes again has the receipt of the one before
    ledger.entry:Entry.announcing, seed 9
    - is_anew or not receipt.since
    + not receipt.since
a receipt has no row of its own
    ledger.table:stored_row, seed 9
    - entry.is_awaited and not entry.debt.job
    + False
an unheard critical is told again and again
    ledger.entry:Entry.fallback_notified, seed 287
    - self.receipt.fallback_notified(missed, at) if is_missed else self.receipt
    + self.receipt
each follow-up asks xMatters about people
    ledger.receipt_prover:ReceiptProver.ask, seed 1191
    - not is_mine
    + False
further recipients are called for each share of an unheard critical
    ledger.receipt:Receipt.awaits_others, seed 1520
    - not self.others_at
    + True
the call of further recipients is not owed
    sweeper.fallback_notifier:FallbackNotifier._mark, seed 79
    - changed.owing_others(self._row_for_others(current, now), now) if has_others else changed
    + changed
a newer share of an unheard critical is not stored for its further recipients
    delivery.delivery:_settle, seed 159
    - store_for_others(services, task, note)
    + pass
a tag that comes late rings nobody
    delivery.rules:_further, seed 219
    - _rerouted(task, entry, state)
    + ()
a tag that comes late rings all recipients of its route each time
    delivery.rules:_rerouted, seed 558
    - not any(each.is_for(name) for each in signals)
    + True
a tag rings whenever it comes
    delivery.rules:_rerouted, seed 219
    - came - signals[-1].at > policy.reroute_within_seconds or not policy.reroute_within_seconds
    + False
a message about a missing page follows one about the same critical
    ledger.receipt:Receipt.missing, seed 116
    - since <= max(self.answered_at, self.told_at, self.others_at)
    + since <= max(self.answered_at, self.others_at)
an answer to a page from before the critical counts for it
    ledger.entry:Entry.awaits_proof_by, seed 9
    - signal.at >= self.receipt.since
    + signal.at >= 0.0
people are told that nobody is left to notify at the deadline only
    ledger.receipt:Receipt.after_dead_end, seed 37
    - replace(self, missed=Missed.NOBODY_ANSWERED if self.notified_at else Missed.NOBODY_NOTIFIED)
    + self
a claim is recorded although no queue took its question
    delivery.delivery:_settle, seed 22
    - question is None or services.outbox.enqueue(question, until=services.clock() + FIRST_QUESTION_SECONDS)
    + services.outbox and True
a stored job is not stored anew when a pause holds its state
    delivery.delivery:_held, seed 77
    - is_paused or entry.debt.job != task.job.stored_name
    + entry.debt.job != task.job.stored_name
a resolve ends the page of the newest signal alone
    delivery.page_followup:signals_to_terminate, seed 37
    - signal.is_open and signal.at < entry.end.at
    + signal.is_open and signal.at < entry.end.at and not entry.accepted_signals[index + 2 :]
a resolve ends one page of a signal that has two
    delivery.page_followup:terminated, seed 89
    - page not in ended
    + page not in ended and page == ids[0]
a message that the fallback topic refused counts as told
    sweeper.fallback_notifier:FallbackNotifier._notify_some, seed 41
    - {channel: due[channel] for channel in notified}
    + dict(due)
a message that the fallback topic refused delays the next one
    sweeper.fallback_notifier:FallbackNotifier._notify_some, seed 144
    - if notified:
    -     run.record_notified(self.tools.table, notified, self.tools.clock())
    + run.record_notified(self.tools.table, list(due), self.tools.clock())
a critical that comes again has no receipt if the one before had no page
    ledger.entry:Entry.announcing, seed 1086
    - audience.awaits_receipt and not audience.is_for_acknowledger
    + audience.awaits_receipt and not audience.is_for_acknowledger and not receipt.is_open
people are told that nobody is left to notify at the end of one page of two
    ledger.entry:Entry.after_dead_end, seed 89
    - len(newest.pages) == 1
    + True
a missing answer counts only if a device is known to have got the page
    ledger.receipt:Receipt.missed_step, seed 84
    - self._is_late(policy.answered_within_seconds, policy, now)
    + self.notified_at and self._is_late(policy.answered_within_seconds, policy, now)
phones are called only about channels of which the topic took the message
    sweeper.fallback_notifier:FallbackNotifier.notify, seed 149
    - partial(self._call_phones, run, overdue_by_channel, others)
    + partial(self._call_phones, run, notified, others)
a message about a receipt counts as the message about the incident's next debt
    ledger.entry:Entry.fallback_notified, seed 153
    - self.debt.is_notified or is_told
    + True
the end that BigPanda confirms is routed without the facts of the last share
    delivery.resolve_questions:ResolveQuestions.ask, seed 398
    - with_facts(answer.share, facts)
    + answer.share
a resolve that came just now is refuted together with the first one of its claim
    ledger.entry:End.answered_open, seed 180
    - self.last_claimed_at
    + self.claimed_at
a callback of a known incident is judged at once, though its signal or page may not be recorded yet
    bigpanda.callback_verification:Verifier.judge, seed 182
    - found.verdict != Verdict.VERIFIED and is_young
    + found.verdict == Verdict.STRANGE and is_young
a signal that the limit of its recipients holds stays counted for the channel
    ledger.rate_limit_and_circuit:RateLimiter.enter, seed 854
    - if isinstance(entered, Wait):
    -     self.leave(Ticket(taken))
    -     return entered
    + if isinstance(entered, Wait):
    +     return entered
what is not critical goes at its slot, although criticals wait
    ledger.rate_limit_and_circuit:Gate.must_step_back, seed 3
    - is_critical_waited_for or (not is_due and self.is_waited_for(self.other_line_end, limit.spacing, now))
    + not is_due and (is_critical_waited_for or self.is_waited_for(self.other_line_end, limit.spacing, now))
a critical waits for minutes since the line of the others is full
    ledger.rate_limit_and_circuit:RateLimiter._known_wait, seed 498
    - gate.critical_line_end if is_critical else max(gate.critical_line_end, gate.other_line_end)
    + max(gate.critical_line_end, gate.other_line_end)
a run leaves the debt of an incident that is over in BigPanda
    reconcile.comparison:Comparison._is_missed, seed 426
    - _is_owed(member, seen, entry) or leaves_pages or is_stale
    + _is_owed(member, seen, entry) or leaves_pages
an incident is a channel's if it was shared with any of the webhooks that may be the channel's
    reconcile.ownership:Ownership.judge, seed 410
    - names[channel] <= targets
    + names[channel] & targets
what is too old waits for the channel's circuit, too, in place of being dead-lettered
    sweeper.bells:Bells.ring_overdue, seed 209
    - may_ring(row) or self._expires_at(row) < self.tools.clock()
    + may_ring(row)
the sweeper wakes criticals and others of a channel by turns
    sweeper.bells:_interleaved, seed 38
    - sorted(placed, key=lambda place: place[:2])
    + sorted(placed, key=lambda place: (place[1], place[0]))
the sweeper keeps the policies that its first run read
    sweeper.run:SweepPolicies.begin_run, seed 77
    - self.known.clear()
    + None
flood control counts from the oldest known signal
    delivery.rules:earliest_send_time, seed 70
    - entry.signal_times[-FLOOD_CONTROL_SIGNALS]
    + entry.signal_times[0]
a critical waits for the slot of the milder state before it
    delivery.rules:_slot, seed 123
    - slot is not None and (slot.is_critical or not task.state.is_critical)
    + slot is not None
a pause leaves out a newer state of an incident that was owed before it
    delivery.rules:_is_left_out, seed 838
    - debt.earliest_since(case.task.state.came)
    + case.task.state.came
an ambiguous signal without the ledger is not remembered
    delivery.delivery:_sent, seed 435
    - sent.maybe_accepted
    + sent.failure is None
a critical that failed waits as long as anything else
    delivery.delivery:retry_later, seed 41
    - task.state.is_critical
    + False
of a signal with a known page, a second page is not searched before its pages end
    delivery.page_followup:terminated, seed 182
    - tuple(dict.fromkeys((*signal.pages, *(page.id for page in found))))
    + signal.pages or tuple(page.id for page in found)
a further page that a workflow makes after a signal's pages ended is not looked for
    delivery.page_followup:signals_to_terminate, seed 460
    - not signal.is_over or (signal.at > young_since and not signal.is_page_missing)
    + not signal.is_over
a later page for other people excuses a critical that made no page
    delivery.page_followup:_unpaged_criticals, seed 1622
    - later.pages and later.reaches_all_of(signal)
    + later.pages
each further signal of a critical that was answered, or told of, begins a new receipt
    ledger.entry:Entry.announcing, seed 79
    - begins and state.is_critical and (newer is None or newer.is_critical) and (is_anew or not receipt.since)
    + begins and state.is_critical and (newer is None or newer.is_critical)
one recipient who could not be notified counts as all of them
    ledger.accepted_signal:AcceptedSignal.failed_for_all, seed 104
    - bool(self.recipients) and self.failed == self.recipients
    + bool(self.failed)
an escalation in capitals counts as an answer to the page
    ledger.receipt:Receipt.heard, seed 124
    - text.strip().lower() not in responses.escalate
    + text.strip() not in responses.escalate
an answer in BigPanda from before the critical closes its receipt
    bigpanda.listing:first_answer, seed 415
    - user not in no_people and each.get("type") in ANSWERS and int(since) <= at <= now + CLOCKS_DIFFER_SECONDS
    + user not in no_people and each.get("type") in ANSWERS and at <= now + CLOCKS_DIFFER_SECONDS
one phone that failed counts as a failure of all ways
    sweeper.fallback_notifier:FallbackNotifier._call_phones, seed 149
    - not accepted
    + not failures or any(failures.values())
BigPanda is asked about an end in the environment of the last share alone
    delivery.resolve_questions:ResolveQuestions._answer, seed 18
    - list(dict.fromkeys(filter(None, (own, *access.environments))))
    + [own] if own else list(access.environments)
a resolve that BigPanda left unanswered is believed although the incident opened again after it
    delivery.resolve_questions:ResolveQuestions._believed, seed 15
    - newest and question.entry.is_after_claim(newest)
    + False
signals that xMatters refuses for good open the circuit of the channel
    ledger.rate_limit_and_circuit:RateLimiter.report, seed 134
    - failure is None or not HANDLING[failure].breaks_circuit
    + failure is None
a late tag rings further recipients although somebody acknowledged the incident
    delivery.rules:_rerouted, seed 201
    - not is_routed or not signals or is_quiet or task.share.snoozed
    + not is_routed or not signals or task.share.snoozed
inline attempts take no heed of the signals of the last minute
    delivery.rules:_send, seed 33
    - min(MAX_ATTEMPTS, room_for_signals(entry, case.now))
    + MAX_ATTEMPTS
once the vendors were asked about the device, they are not asked who answered
    ledger.receipt:Receipt._questions, seed 750
    - limit in awaited and number > self.questions
    + limit in awaited and self.questions <= EARLY_QUESTIONS
each unanswered question begins BigPanda's silence anew
    ledger.entry:End.unanswered, seed 808
    - self.silent_since or asked_at
    + asked_at
the fallback topic is told of a critical that nobody heard although the channel is paused
    sweeper.fallback_notifier:FallbackNotifier._is_to_notify, seed 924
    - policy.stops_all(now)
    + policy.stops_all(now) and not self._missed(row)
the end of a snooze is recorded although the incident rang since
    reconcile.comparison:Comparison._is_snooze_over, seed 3444
    - each if was_signalled(each) else each.with_snooze_over()
    + each.with_snooze_over()
the sweeper does not invoke the worker for a bell that the queue refused
    sweeper.bells:Bells._ring_one, seed 186
    - run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job))
    + (is_direct or debt_row.is_unbegun) and run.invocations < MAX_INVOCATIONS and self.invoke(envelope_of(job))
while the ledger fails, a state is sent that must not ring any more
    delivery.delivery:_waits_for_ledger, seed 92
    - has_to or final_reason(task, now) is not None or (not is_urgent and can_wait(task, now))
    + has_to or (not is_urgent and can_wait(task, now))
a failed state that no queue took is due as late as one with a message
    delivery.delivery:_recorded_failure, seed 647
    - planned_row(task, result.until or until, services.clock(), has_message=result.queue == "retry")
    + planned_row(task, result.until or until, services.clock())
a follow-up that found something is not repeated, although a page did not end
    delivery.page_followup:Followup._noted, seed 1352
    - worst and (again is None or not _is_final(worst))
    + worst and after == entry and (again is None or not _is_final(worst))
a callback that says that a device got the page is believed, although xMatters can be asked
    bigpanda.callback_writeback:Writeback._note_proof, seed 116
    - callback.is_delivered() and rest is None
    + callback.is_delivered()
a page that was over when it was found takes the place of an active one
    delivery.page_followup:_takes_over, seed 661
    - bool(newer.pages) and not newer.is_over and newer.reaches_all_of(older)
    + bool(newer.pages) and newer.reaches_all_of(older)
an answer after an escalation of the same page is not heard
    ledger.receipt:Receipt.heard, seed 336
    - text.strip().lower() not in responses.escalate
    + text.strip().lower() not in responses.escalate and (name, text) == heard.answers[0]
a share without a status does not take over the status of the newest state
    incidents.share:State.with_status_of, seed 491
    - self.is_open and self.rank is None
    + False
a critical that a person snoozed is told to people as unheard
    delivery.rules:described, seed 43
    - entry.receipt.snoozed(task.state.came) if task.share.snoozed else entry.receipt
    + entry.receipt
an answer that nobody verified assigns its incident
    bigpanda.incident_writer:_is_to_assign, seed 337
    - to_write.is_verified and to_write.access.assign
    + to_write.access.assign
a verified answer assigns nobody
    bigpanda.incident_writer:_is_to_assign, seed 152
    - to_write.is_verified and to_write.access.assign
    + False
an acknowledgement that is retried takes the incident from whom a later one assigned
    bigpanda.callback_writeback:Writeback._to_write, seed 548
    - return "somebody acknowledged it later" if any(later) else ""
    + return ""
the updates that BigPanda withholds are released by nobody
    entrypoints.http_endpoints:take_share, seed 128
    - is_held and is_first and result.outcome != Outcome.UNSAFE and result.job
    + False
a state that kills its workers is given up after fifty of them
    delivery.rules:_given_up, seed 26
    - begun >= MAX_BEGUN
    + begun >= 50
of many channels that get sick at once, people are told of one
    sweeper.health_watch:_together, seed 90
    - [ordered] if len(ordered) >= MANY else [[each] for each in ordered]
    + [ordered[:1]]
a body that is cut loses the facts that routes ask about
    jobs.reduced_body:_facts, seed 428
    - size <= room
    + False
a recipient of the URL that the channel does not allow rings
    channels.channel:Channel.permits, seed 251
    - allowed is None or name in allowed
    + True
an update of a critical that nobody heard rings no further recipients
    delivery.rules:_judged, seed 915
    - (*recipients, *others)
    + recipients
a job that is replayed while the ledger fails rings unasked after two minutes
    delivery.delivery:_waits_for_ledger, seed 203
    - task.job.is_revived or Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question
    + Flag.WAITS_FOR_LEDGER in task.job.flags or task.needs_question
a resumed pause holds what it held as long as another pause goes on
    sweeper.run:is_resumed, seed 71
    - each.is_active(now) and each.id == debt.paused_by
    + each.is_active(now)
a canary that failed once judges no more
    sweeper.canary:Canary.begun, seed 796
    - replace(self, phase=Phase.OPENING, began=round(now), ended=0.0, is_decided=False)
    + replace(self, phase=Phase.OPENING, began=round(now), ended=0.0)
a critical that is found in a pause counts as reported
    reconcile.reconciler:Reporter._notified, seed 36
    - return others
    + return list(found)
the same answer on the same page is not given again
    incidents.callback:Callback.digest, seed 182
    - json.dumps(self)
    + json.dumps(self[:-1])
a follow-up of a signal that waited for hours expires unworked
    jobs.queue:_chore, seed 1706
    - job.fresh()._replace(kind=kind, accepted=None, dead_lettered_at=None, revived_at=timestamp(now))
    + job.fresh()._replace(kind=kind, accepted=None, dead_lettered_at=None)
an earlier acknowledgement that is worked late replaces a later one
    ledger.entry:Entry.acknowledged, seed 548
    - came < self.acknowledgement.at
    + came == self.acknowledgement.at
an entry keeps its oldest signals, and forgets the newest
    ledger.accepted_signal:with_signal, seed 355
    - tuple(sorted((*signals, signal), key=lambda each: each.at)[-MAX_ACCEPTED_SIGNALS:])
    + tuple(sorted((*signals, signal), key=lambda each: each.at)[:MAX_ACCEPTED_SIGNALS])
a question that xMatters left without an answer is not asked again
    ledger.receipt_prover:ReceiptProver.ask, seed 82
    - lambda each: replace(each, questions=before)
    + lambda each: each
a pause that no mark can tell of is learnt minutes later
    channels.cache:ChannelCache._for_work, seed 214
    - copy is None or not (is_outdated or self._change_marks.are_unread)
    + copy is None or not is_outdated
a failed search for a comment ends the doubt if it was written
    bigpanda.callback_writeback:Writeback._write_once, seed 101
    - leased.in_doubt or error.may_have_acted
    + error.may_have_acted
the fallback topic is not told of a critical that comes back while its resolve is owed
    ledger.entry:Entry._with_newest, seed 105
    - is_reopened and (debt.is_notified or self.eased)
    + is_reopened and self.eased
no proof is awaited of a critical that was shared again while it was sent
    ledger.entry:Entry.announcing, seed 908
    - newer is None or newer.is_critical
    + newer is None
a state that a pause kept is left out by a pause that lasts longer
    delivery.rules:_is_left_out, seed 223
    - not pause.postpones(debt.earliest_since(case.task.state.came)) and not debt.paused_until
    + not pause.postpones(debt.earliest_since(case.task.state.came))
a log-in page counts as a vendor's answer
    http.session:HttpAnswer.is_success, seed 1130
    - 200 <= self.status < 300 and not self.is_web_page
    + 200 <= self.status < 300
a proxy's 404 says that xMatters has no such person
    xmatters.directory:RestApi.ask, seed 81
    - answer.status == 404 and not _says_not_found(answer)
    + False
a worker tells of a critical of which only the record waits for the ledger
    entrypoints.worker:Worker._notify_without_ledger, seed 359
    - job.accepted or down_since is None or not _is_critical(job)
    + down_since is None or not _is_critical(job)
a pause with conditions delays the question about other incidents
    channels.policy:Policy.after_pauses, seed 419
    - age_start([each for each in self.pauses if not each.when], at, 0.0)
    + age_start(self.pauses, at, 0.0)
""")
