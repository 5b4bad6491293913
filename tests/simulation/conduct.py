"""Conduct of the relay in a schedule: towards xMatters, the queues, and the fallback topic's subscribers."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, pairwise, permutations

from relay.jobs.queue import SCHEMA
from tests.simulation.phones import AMBIGUOUS, Post
from tests.simulation.played import IN_FLIGHT_SECONDS, NEEDED, Played
from tests.simulation.services import Message, tells_of, tells_of_unheard
from tests.simulation.story import NOC

# A minute, minus the time that a signal may take from the rate limiter to xMatters.
PACED_SECONDS = 57.0
# The 30 s wait after an ambiguous send, minus the differences of clocks and networks.
PATIENCE_SECONDS = 28.0
FAILURES_IN_A_ROW = 5
OPEN_SECONDS = 30.0
# A sender that has passed the circuit does not learn of its opening.
LEARNS_SECONDS = 8.0
# The pause after a 429, by its Retry-After; the relay waits for fifteen minutes at most.
PAUSES_SECONDS = {"429": 20.0, "429 for long": 890.0}
# The Retry-After of a 503, minus the differences of clocks.
ASKED_FOR_SECONDS = 298.0
# From the replay of a signal to its next attempt, and from that to another one, if the first fails: half a minute of
# backoff, half a minute of an open circuit, and the queues.
REVIVED_SECONDS, AGAIN_SECONDS = 30.0, 90.0
# From a share's arrival to the waking of the message that the webhook queues before it sends.
WAKES_SECONDS = 40.0
# The longest backoff of 15 minutes, and 3 minutes for a crash, with a margin.
FAIR_SECONDS = 1500.0
BREAKING = {"503", "503 for minutes", "redirect", "504", "504 rang", "gone", "reset rang", "timeout", "timeout rang"}
# The relay searches a page for three minutes, and a follow-up may wake two minutes later.
LOOKED_FOR_SECONDS = 320.0
TOLD_TWICE_SECONDS = 299.0
# Workers that one signal kills at most: those of five bells, and of the state's own messages until then.
MOST_KILLED = 8
# While the ledger fails: the shortest time between two criticals of one incident from one function.
UNGUARDED_SECONDS = 120.0


@dataclass
class Conduct(Played):
    """Judge of the relay's conduct in a finished schedule.

    Attributes:
        held: start (epoch seconds) and channel of each process that an open circuit kept from sending.
        revived: time of the last replay of each state that was dead-lettered then, in epoch seconds.
    """

    held: Sequence[tuple[float, str]]
    revived: Mapping[tuple[str, int], float]

    def problems(self) -> Iterator[str]:
        """Yield the problems of the finished schedule."""
        if not self.story.widens_at is not None:
            yield from self._wrong_attempts()
        yield from self._unfit_dead_letters()
        yield from self._told_again()
        yield from self._poisoned()
        yield from self._unmarked()
        yield from self._unrecorded()
        if self.is_steady(*NEEDED, "rest", "sns"):
            yield from self._silent()
        if self.is_steady("sqs", "lambda", "secrets", "token"):
            yield from self._unguarded_again()
        if self.is_steady("dynamodb", "sqs"):
            yield from self._hurried()
            yield from self._asked_too_soon()
            yield from self._slow_again()
            for channel in self.policies:
                yield from self._circuit_ignored(channel)
                yield from self._held_needlessly(channel)
                yield from self._above_rate_limit(channel)

    def _wrong_attempts(self) -> Iterator[str]:
        for message in self.dead_letters.messages.values():
            job = message.job
            asked = len(self._posts_of(message))
            if job["kind"] == "signal" and job["stamps"]["attempts"] > asked:
                yield f"a job says {job['stamps']['attempts']} attempts, and xMatters was asked {asked} times"

    def _posts_of(self, message: Message) -> list[Post]:
        """Return the requests for a job. A signal to further recipients, such as BOSS, has an id of its own."""
        name, number = message.job["incident_id"], (message.incident or {}).get("share")
        return [
            post
            for post in self.phones.posts
            if post.delivery == message.delivery_id
            or ((post.calls_boss or post.share == number) and post.incident.partition("@")[0] == name)
        ]

    def _unfit_dead_letters(self) -> Iterator[str]:
        fair_from = self.weather.fair_from()
        for message in self.dead_letters.messages.values():
            job = message.job
            if job["dead_lettered_at"] is None or (job["revived_at"] or "") > job["dead_lettered_at"]:
                # SQS moves messages that the functions can't read, also those that were replayed before.
                if job["schema"] == SCHEMA and not self.weather.spells and not self.weather.crashes:
                    yield f"a dead letter without a mark, in fair weather: {job['incident_id']}"
                continue
            at, since = seconds_of(job["dead_lettered_at"]), seconds_of(job["revived_at"] or job["received_at"])
            later = self.story.timelines.get(job["channel"], ())[1:]
            match job["reason"]:
                case "refused":
                    is_fit = bool(self._posts_of(message))
                case "expired":
                    # A job's times are cut to the millisecond, so its age may be the limit itself.
                    is_fit = job["kind"] == "signal" and at - since >= self.policies[job["channel"]]["max_age_seconds"]
                    # In fair weather a signal rings before it is too old.
                    is_fit &= at - max(since, fair_from, self.quiet_until(job["channel"])) < FAIR_SECONDS
                case "shadowed":
                    is_fit = any(settings.mode == "shadow" for settings in later)
                case "channel_removed":
                    is_fit = any(settings.is_removed for settings in later)
                case _:
                    # Five workers that die one after the other make any state look like poison.
                    is_fit = bool(self.spells("sqs") or self.weather.crashes) or job["incident_id"] in self.story.poison
            if not is_fit:
                yield f"unfit: a dead letter says {job['reason']}, {at - since:.0f} s after it came"

    def _told_again(self) -> Iterator[str]:
        """Check that the topic is not notified too often."""
        # A sweeper's run that dies before it records its notifications is followed by a run that repeats them, and
        # so is one that gets no answer from SNS.
        is_recorded = self.is_steady("dynamodb") and not any(each.fault == "answer lost" for each in self.spells("sns"))
        for channel in self.policies if is_recorded else ():
            notices = [notice for notice in self.sns.told if notice.channel == channel]
            # Each run of the sweeper may have another clock. What nobody heard is told of at once.
            least = TOLD_TWICE_SECONDS - self.cloud.clocks_differ
            apart = (later.at - earlier.at for earlier, later in pairwise(notices) if not tells_of_unheard(later.text))
            if any(seconds < least for seconds in apart):
                yield f"the fallback topic was told of {channel} twice within five minutes"

    def _poisoned(self) -> Iterator[str]:
        """Check that a signal that kills workers is given up before it kills many, and that people are told of it."""
        dead = {job["incident_id"] for job in self.dead_letters.jobs()}
        for incident, times in self.phones.killed.items():
            is_critical = any(state.is_critical for state in self.states_of(incident))
            if times > MOST_KILLED:
                yield f"poison: {incident} killed {times} workers"
            if incident not in dead:
                yield f"poison: {incident} killed {times} workers, and is not dead-lettered"
            if is_critical and not any(tells_of(notice.text, incident) for notice in self.sns.told):
                yield f"poison: {incident} killed {times} workers, and nobody was told of it"

    def _silent(self) -> Iterator[str]:
        """Check that the topic is notified of an accepted critical signal for which xMatters made no page."""
        if self.has_operators or not (self.story.has_rest and self.are_pages_followed):
            return
        paged = {page.request_id for page in self.phones.pages}
        # A ledger's entry that became unreadable has no signals.
        forgotten = {incident for _, incident in self.story.damaged}
        for post in self.phones.posts:
            is_silent = post.is_accepted and post.is_critical and post.channel == NOC and post.request_id not in paged
            is_boss_called = any(
                call.incident == post.incident and call.began <= post.began for call in self.phones.calls
            )
            if not is_silent or is_boss_called or post.incident in forgotten or self._is_followed(post, paged):
                continue
            notices = (notice for notice in self.sns.told if notice.channel == NOC and notice.at > post.began)
            if not any(tells_of(notice.text, post.incident.partition("@")[0]) for notice in notices):
                yield f"silent: no page came of {post.incident} share {post.share}, and the topic was not notified"

    def _reaches_all_of(self, newer: Post, older: Post) -> bool:
        recipients = {(ring.incident, ring.began): {*ring.recipients} for ring in self.phones.rings}
        of_older, of_newer = (recipients.get((each.incident, each.began), set()) for each in (older, newer))
        return of_older <= of_newer

    def _is_followed(self, post: Post, paged: Collection[str]) -> bool:
        """Return True if the signal needs no page of its own.

        That is so if the incident ended before the relay gave up its search for the page, or if a newer signal of the
        incident to the same people has a page.
        """
        is_over = any(
            post.began - LEARNS_SECONDS < at < post.began + LOOKED_FOR_SECONDS
            for state in self.states_of(post.incident)
            if not state.is_open and state.number != post.share
            for at in state.arrivals
        )
        # Who answered an earlier page of the critical after this signal, or comments in BigPanda, knows of it.
        answers = [(at, said) for at, said, text in self.phones.answers if text != "Escalate"]
        is_answered = any(
            said == post.incident and post.began < at < post.began + LOOKED_FOR_SECONDS
            for at, said in (*answers, *self.console.remarks)
        )
        return (
            is_over
            or (self.story.receipts and is_answered)
            or any(
                other.incident == post.incident
                and other.began > post.began
                and other.request_id in paged
                and self._reaches_all_of(other, post)
                for other in self.phones.posts
            )
        )

    def _unrecorded(self) -> Iterator[str]:
        """Check that what an operator replays waits for the ledger: it may have passed since it was dead-lettered."""
        outages = [each for each in self.spells("dynamodb") if "refuses" in each.fault and each.share == 1]
        if any(each.fault == "answer lost" for each in self.spells("sqs")):
            # What rings may be a second copy of the message, which nobody replayed.
            return
        for post in self.phones.posts:
            began, ends = post.process.started_at - self.world.began, post.began - self.world.began
            came = [at - self.world.began for at in self.states[post.incident, post.share].arrivals]
            # A share's first message, which nobody replayed, may not have met the ledger before it failed.
            is_dark = any(
                each.begins < began
                and ends < each.ends
                and not any(each.begins - WAKES_SECONDS < at < each.begins for at in came)
                for each in outages
            )
            is_revived = self.revived.get((post.incident, post.share), post.began) < post.began
            if is_dark and is_revived and post.process.works == "signal":
                yield f"unguarded: {post.incident} share {post.share} was replayed, and sent without the ledger"

    def _hurried(self) -> Iterator[str]:
        """Check that a retry after an ambiguous attempt waits long enough, and is marked as a possible repetition.

        One inline retry of a critical need not wait. The signal of a new share is no retry.
        """
        for posts in self._by_delivery():
            for earlier, later in pairwise(posts):
                if earlier.fault not in AMBIGUOUS or earlier.ended is None:
                    continue
                is_another = later.process.name.startswith("webhook") and later.process != earlier.process
                # A copy is owed again if another state was announced in between, or may have been, or if it came anew.
                is_news = self._is_announced_between(earlier, later) or self._came_between(earlier, later)
                is_retry = later.share == earlier.share and later.began > earlier.ended and not (is_another or is_news)
                if is_retry and not later.is_marked:
                    yield f"unmarked: asked again after {earlier.fault}, without X-Relay-May-Repeat"
                is_fit = is_another or self.has_operators or self._is_inline_retry(earlier, later, posts)
                waited = later.began - earlier.ended
                if waited < PATIENCE_SECONDS and not is_fit and not is_news:
                    yield f"hurried: tried again {waited:.0f} s after {earlier.fault}"

    def _came_between(self, earlier: Post, later: Post) -> bool:
        """Return True if the share without timestamps came once more between two attempts."""
        state = self.states[later.incident, later.share]
        return state.changed_on is None and any(earlier.began < at < later.began for at in state.arrivals)

    def _unmarked(self) -> Iterator[str]:
        """Check that a process that marks a request as a possible repetition marks its later ones, too.

        Renewed credentials and answers that did not ring leave it possible that people were rung before.
        """
        for posts in self._by_delivery():
            for earlier, later in permutations(posts, 2):
                is_after, name = earlier.process == later.process and earlier.began < later.began, later.process.name
                if is_after and earlier.is_marked and not later.is_marked:
                    yield f"unmarked: {name} asked again after {earlier.fault}, without X-Relay-May-Repeat"

    def _is_announced_between(self, earlier: Post, later: Post) -> bool:
        """Return True if xMatters accepted a signal between two requests, or may have accepted one of another share."""
        return any(
            (post.is_accepted or (post.fault in AMBIGUOUS and post.share != later.share))
            and post.incident == later.incident
            and earlier.began < post.began < later.began
            for post in self.phones.posts
        )

    def _is_inline_retry(self, earlier: Post, later: Post, posts: Sequence[Post]) -> bool:
        """Return True if `later` is the one retry of a critical that a webhook sends after an ambiguous attempt."""
        if earlier.process != later.process or not earlier.process.name.startswith("webhook"):
            return False
        before = [post for post in posts if post.process == earlier.process and post.began < earlier.began]
        is_first = all(post.fault not in AMBIGUOUS for post in before)
        is_critical = self.states[earlier.incident, earlier.share].is_critical
        return is_critical and is_first and earlier.fault in {"reset rang", "504", "504 rang"}

    def _unguarded_again(self) -> Iterator[str]:
        """Check that a function that sent a critical without the ledger sends no second one of its incident soon.

        A state in between that was not critical makes the next critical urgent again.
        """
        spells = self.spells("dynamodb")
        if len(spells) != 1 or spells[0].fault != "refuses" or spells[0].share != 1:
            return
        # A share may have met the ledger before it failed.
        first = self.world.began + spells[0].begins + IN_FLIGHT_SECONDS
        last = self.world.began + spells[0].ends
        unguarded = [
            post for post in self.phones.posts if post.process.function is not None and first < post.began < last
        ]
        for earlier, later in permutations((post for post in unguarded if post.is_critical), 2):
            is_same = (earlier.process.function, earlier.incident) == (later.process.function, later.incident)
            # Neither of two shares that come together knows of the other one.
            rang = earlier.is_accepted or earlier.fault in AMBIGUOUS
            if not (is_same and rang and earlier.ended and earlier.ended < later.process.started_at):
                continue
            is_soon = later.began < earlier.ended + UNGUARDED_SECONDS
            if is_soon and not self._has_eased_between(earlier, later):
                yield f"unguarded: {later.process.name} sent a second critical of its function without the ledger"

    def _has_eased_between(self, earlier: Post, later: Post) -> bool:
        """Return True if a state that is not critical came between two requests for one incident."""
        return any(
            earlier.process.started_at < at < later.began
            for state in self.states_of(later.incident)
            if not state.is_critical
            for at in state.arrivals
        )

    def _asked_too_soon(self) -> Iterator[str]:
        """Check that a retry waits as long as xMatters asked for. The first one was queued before the first attempt."""
        if self.has_operators or any(queue.doubled for queue in self.queues):
            return
        for posts in self._by_delivery():
            for earlier, later in pairwise(posts):
                is_retry = earlier.process.name.startswith("worker") and later.process.name.startswith("worker")
                waited = later.began - (earlier.ended or later.began)
                if is_retry and earlier.fault == "503 for minutes" and waited < ASKED_FOR_SECONDS:
                    yield f"hurried: tried again {waited:.0f} s after xMatters had asked for five minutes"

    def _slow_again(self) -> Iterator[str]:
        """Check that the backoff of a replayed signal starts again, where nothing else delays it."""
        if self.spells("secrets", "lambda"):
            return
        deeds = (self.world.began + at for at, deed in self.story.operations if deed in {"replay", "redrive"})
        for before, at in pairwise((0.0, *sorted(deeds))):
            after = [post for post in self.phones.posts if post.began > at]
            first = next(iter(after), None)
            if first is None or first.began > at + REVIVED_SECONDS or first.fault not in {"503", "gone"}:
                continue
            age = float(self.policies[first.channel]["max_age_seconds"])
            came = [arrival for state in self.states_of(first.incident) for arrival in state.arrivals]
            # Else it was not dead-lettered for its age, has not come back, or is still tried after the deed before.
            is_revived = bool(came) and max(came) + age < at and not at - age < before < at
            others = [post for post in after if post.incident != first.incident]
            by = (first.ended or first.began) + AGAIN_SECONDS
            if is_revived and not others and not any(first.began < post.began < by for post in after):
                yield f"late: {first.incident} was replayed, and not tried again in {AGAIN_SECONDS:.0f} s"

    def _circuit_ignored(self, channel: str) -> Iterator[str]:
        """Check that a channel's trigger gets no request for a while after five failures in a row, or a 429."""
        signals = sorted(self._signals(channel), key=lambda signal: signal[-1].ended or 0.0)
        in_a_row, before, begins = 0, 0.0, [signal[0].began for signal in signals]
        # A wrong password ends a row of failures, and there is no signal to see.
        tokens = self.phones.refused_tokens if channel == NOC else []
        for place, signal in enumerate(signals):
            last = signal[-1]
            is_limited = last.fault in PAUSES_SECONDS
            in_a_row = 0 if any(before < at < (last.ended or at) for at in tokens) else in_a_row
            before = last.ended or before
            if not is_limited:
                in_a_row = in_a_row + 1 if last.fault in BREAKING else 0
            if last.ended is None or (in_a_row < FAILURES_IN_A_ROW and not is_limited):
                continue
            pause = PAUSES_SECONDS.get(last.fault or "", OPEN_SECONDS)
            first, end = last.ended + LEARNS_SECONDS, last.ended + pause - max(1.0, self.cloud.clock_margin)
            # A later 429 says anew how long the pause is, and any other answer to a signal in flight ends it.
            answers = (later[-1] for later in signals[place + 1 :] if later[-1].fault not in BREAKING)
            if any(first < began < end for began in begins) and not any(
                answer.began < first and answer.ended and answer.ended < end for answer in answers
            ):
                yield f"xMatters was asked within {pause:.0f} s after {last.fault}"

    def _held_needlessly(self, channel: str) -> Iterator[str]:
        """Check that no circuit is open after an answer by which xMatters takes signals, or refuses this one for good.

        An answer to a signal that was sent before xMatters failed closes no circuit.
        """
        if self.spells("token"):
            # A refused token opens the circuit, too, and there is no signal to see.
            return
        posts = [post for post in self.phones.posts if post.channel == channel and post.ended]
        good = [post for post in posts if post.fault not in BREAKING | PAUSES_SECONDS.keys() | {"credentials", "token"}]
        for at, _ in (each for each in self.held if each[1] == channel):
            last = max((post.began for post in good if (post.ended or at) < at - LEARNS_SECONDS), default=0.0)
            # The sender of the last one may have entered before the failure was recorded.
            failed = (post for post in posts if post not in good and post.began < at)
            if last and not any((post.ended or at) > last - LEARNS_SECONDS for post in failed):
                yield f"circuit: {channel} was held {at - last:.0f} s after a signal by which the circuit is closed"

    def _above_rate_limit(self, channel: str) -> Iterator[str]:
        """Check that no minute has more signals than the policy allows; a small margin is subtracted from the minute.

        An inline retry and the attempt before it count as one signal, although both may have paged.
        """
        if any(spell.fault in {"reset rang", "504 rang"} for spell in self.weather.spells):
            return
        policy, rings = self.policies[channel], [ring for ring in self.phones.rings if ring.channel == channel]
        yield from _crowded(policy["max_per_minute"], (ring.began for ring in rings))
        if limit := policy.get("max_per_minute_per_recipients"):
            for recipients in sorted({ring.recipients for ring in rings}):
                yield from _crowded(limit, (ring.began for ring in rings if ring.recipients == recipients))

    def _by_delivery(self) -> Iterator[list[Post]]:
        # Two entries may have the same delivery id: the recipients in a webhook's URL may be the channel's own.
        posts = sorted(self.phones.posts, key=lambda post: (post.delivery, post.incident, post.began))
        for _, group in groupby(posts, key=lambda post: (post.delivery, post.incident)):
            yield list(group)

    def _signals(self, channel: str) -> Iterator[Sequence[Post]]:
        """Yield the attempts of each signal of a channel: the posts of one process for one delivery."""
        for posts in self._by_delivery():
            own = (post for post in posts if post.channel == channel)
            by_process = sorted(own, key=lambda post: post.process.name)
            yield from (list(tries) for _, tries in groupby(by_process, key=lambda post: post.process.name))


def _crowded(limit: int, rings: Iterable[float]) -> Iterator[str]:
    times = sorted(rings)
    for first, last in zip(times, times[limit:], strict=False):
        if last - first < PACED_SECONDS:
            yield f"{limit + 1} signals within {last - first:.1f} s"


def seconds_of(moment: str) -> float:
    """Return the epoch seconds of a job's time."""
    return datetime.fromisoformat(moment).timestamp()
