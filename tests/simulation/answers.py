"""Judge of answers that act: those whose response text resolves or snoozes its incident in BigPanda."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from tests.simulation.console import Act, answers_in
from tests.simulation.flaps import NOTED_SECONDS
from tests.simulation.phones import Page
from tests.simulation.played import NEEDED, CautiousJudge, may_be_unrecorded
from tests.simulation.story import Said

# From a signal's acceptance to its record in the ledger.
RECORDED_SECONDS = 16.0
# From the last read of the ledger before an act to the request that acts.
CHECKED_SECONDS = 2.0
# From the arrival of an answer to its act, if its page can be found at once.
ACTS_SECONDS = 60.0
# An answer must act only if a search finds its page so soon: the relay verifies the answer for five minutes, with long
# waits at the end.
FOUND_SECONDS = 100.0
# Words of a comment that say why an answer did nothing.
EXPLAINED = ("(Not ", "(BigPanda answered 409: ", "Unverified")


@dataclass
class Answer:
    """A person's answer in xMatters, or a forged one, of which a callback came.

    Attributes:
        page: the page that it names; None if there was none.
        arrivals: arrivals of its callbacks, in epoch seconds.
        is_known: True if the channel knew the incident when a callback came.
        taken: times of the answers of which a callback was answered 200, as the story has them.
    """

    said: Said
    page: Page | None
    arrivals: list[float] = field(default_factory=list)
    is_known: bool = False
    taken: set[float] = field(default_factory=set)

    @property
    def name(self) -> str:
        """Name of the answer, which its comment in BigPanda also has."""
        return f"answer-{self.said.number}"

    @property
    def came(self) -> float:
        """Arrival of its first callback, in epoch seconds."""
        return self.arrivals[0]

    @property
    def is_credible(self) -> bool:
        """True if xMatters confirms the page and the person."""
        return self.page is not None and not self.said.is_forged


@dataclass
class ActingAnswers(CautiousJudge):
    """Judge of the answers that act, in a finished schedule."""

    answers: Sequence[Answer]

    def problems(self) -> Iterator[str]:
        """Yield a problem for each answer that acted wrongly, too often or not at all, or whose comment is wrong."""
        for answer in self.answers:
            acts = [act for act in self.console.acts if act.answer == answer.name]
            texts = [text for text in self.console.texts if answer.name in answers_in(text)]
            # Copies of a callback come every five seconds.
            latest = answer.came + 5 * answer.said.copies + NOTED_SECONDS + 60.0 * (self.story.snooze_minutes or 0)
            if any(act.until > latest for act in acts):
                yield f"snoozed: {answer.name} keeps {acts[0].incident} quiet for too long"
            if acts and not answer.is_credible:
                yield f"unverified: {answer.name} did {acts[0].deed} {acts[0].incident}"
            if answer.is_credible and answer.said.incident not in self.untrusted:
                yield from (problem for act in acts for problem in self._overtaken(answer, act))
            # The result of an earlier request was not known, or could not be noted.
            if any(not may_be_unrecorded(earlier) for earlier, _ in pairwise(acts)):
                yield f"acted: {answer.name} did {acts[0].deed} {acts[0].incident} {len(acts)} times"
            if any(not may_be_unrecorded(act) for act in acts) and texts:
                yield f"acted: {answer.name} did {acts[0].deed} {acts[0].incident}, and was a comment too: {texts[0]}"
            if any(not any(words in text for words in EXPLAINED) for text in texts):
                yield f"unexplained: {answer.name} did nothing, and its comment does not say why: {texts[0]}"
            if not acts and answer.is_credible and self._has_to_act(answer):
                yield f"idle: {answer.name} did nothing with {answer.said.incident}: {texts}"

    def _overtaken(self, answer: Answer, act: Act) -> Iterator[str]:
        """Check that no newer signal forbade the act: the ledger had none just before it.

        Such a signal announces an open state after the answered page, or a resolve after the answer.
        """
        assert answer.page
        for ring in self.phones.rings:
            is_of_it = ring.incident.partition("@")[0] == act.incident and ring.channel == answer.page.ring.channel
            is_known = ring.at + RECORDED_SECONDS < act.at - CHECKED_SECONDS and self.is_accepted(ring)
            is_open = self.told_by(ring).is_open
            since = answer.page.ring.began if is_open else answer.came + NOTED_SECONDS
            if is_of_it and is_known and ring.began > since:
                yield (
                    f"overtaken: {answer.name} to share {answer.page.ring.share} did {act.deed} {act.incident}, "
                    f"of which share {ring.share} was signalled since"
                )
                return

    def _has_to_act(self, answer: Answer) -> bool:
        """Return True if the answer has to act, because nothing prevents it.

        No service fails, and the incident is open, unchanged and not snoozed. This holds from the signal of the
        answered page until the latest time of the act.
        """
        assert answer.page
        world, page, incident = self.world, answer.page, answer.said.incident
        # A page that is not found yet is looked up again after waits that double.
        first, last = page.ring.began, answer.came + ACTS_SECONDS + 2 * max(0.0, page.found_from - answer.came)
        is_seen = self.is_accepted(page.ring) and page.found_from < answer.came + FOUND_SECONDS
        spells = self.spells(*NEEDED, "bigpanda", "rest", "token")
        is_fair = not any(world.began + each.begins < last and first < world.began + each.ends for each in spells)
        # An older version does not read a newer one's messages.
        is_fair = is_fair and not self.cloud.has_newer_schema
        if not is_seen or not is_fair or self.weather.crashes or self.has_operators or incident in self.untrusted:
            return False
        # The relay's own comment changes nothing.
        states = [state for state in self.states.values() if state.id == incident and not state.is_comment]
        before = max((each for each in states if world.began + each.at <= first), key=lambda each: each.at)
        changes = (at for state in states for at in (world.began + state.at, *state.arrivals))
        rings = (ring.began for ring in self.phones.rings if ring.incident.partition("@")[0] == incident)
        naps = (nap for nap in self.naps if nap.incident == incident)
        return (
            before.is_open
            and not any(first < at < last for at in changes if at not in before.arrivals)
            and not any(first < at < last for at in rings)
            and not any(world.began + nap.begins < last and first < world.began + nap.ends for nap in naps)
        )
