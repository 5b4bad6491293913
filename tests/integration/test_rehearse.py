"""relayctl rehearse with both vendors' stand-ins, which remember days whose figures are known."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from relay.http.client import HttpClient
from relay.http.session import AllowList, HttpAnswer, Session
from relayctl.__main__ import main
from relayctl.rehearse.findings import CLASSES
from relayctl.settings import settings_file
from relayctl.stack.deployed import Effects
from sandbox import past, rehearsal
from sandbox.server.in_process import Box

# Waits are so short that only the calls take time.
FASTER = 2000.0
# As many as have every kind of story.
DAYS = 12
# For runs that read everything anew.
LAST_DAYS = ("--since", "2d")


class Watched(HttpClient):
    """A client that notes each request, and breaks off before the one after `most`."""

    def __init__(self, hosts: AllowList, most_bytes: int, log: list[tuple[str, str]], most: int) -> None:
        super().__init__(Session(hosts, most=most_bytes))
        self._log, self._most = log, most

    def ask(self, method: str, url: str, *arguments: Any, **options: Any) -> HttpAnswer:
        if len(self._log) >= self._most:
            raise KeyboardInterrupt
        self._log.append((method, url))
        return super().ask(method, url, *arguments, **options)


class Laptop:
    """Runs relayctl rehearse against the stand-ins.

    Attributes:
        log: Method and URL of each request of the last run.
    """

    def __init__(self, told: past.Past, box: Box, folder: Path) -> None:
        self.told, self.box, self._folder = told, box, folder
        self.log: list[tuple[str, str]] = []

    def run(self, *more: str, most: int = 1_000_000, has_xmatters: bool = True) -> Result:
        log: list[tuple[str, str]] = []
        self.log = log
        effects = Effects(
            outward=lambda hosts, most_bytes=0, **options: Watched(hosts, options["most"], log, most),
            ticks=lambda: FASTER * time.monotonic(),
            sleep=lambda seconds: time.sleep(seconds / FASTER),
        )
        typed = rehearsal.arguments(self.box, self._folder, "--since", f"{DAYS}d", *more)
        if not has_xmatters:
            # The options of xMatters have three values.
            at = typed.index("--xmatters-url")
            del typed[at : at + 6]
        return CliRunner(env={"COLUMNS": "80"}).invoke(main, typed, obj=effects)


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    with rehearsal.remembering(DAYS) as (told, box):
        yield Laptop(told, box, tmp_path_factory.mktemp("credentials"))


@pytest.fixture(autouse=True)
def no_faults(laptop: Laptop) -> Iterator[None]:
    yield
    laptop.box.script([])


class Kept(NamedTuple):
    """The archive of a whole run, its report, and its requests."""

    folder: Path
    found: dict[str, Any]
    log: list[tuple[str, str]]


@pytest.fixture(scope="module")
def kept(laptop: Laptop, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    folder = tmp_path_factory.mktemp("archive") / "past"
    done = laptop.run("--json", "--keep", str(folder))
    assert done.exit_code == 0, done.output
    return Kept(folder, json.loads(done.stdout), laptop.log)


@pytest.fixture(scope="module")
def last_days(laptop: Laptop) -> Kept:
    done = laptop.run("--json", *LAST_DAYS)
    return Kept(Path(), json.loads(done.stdout), laptop.log)


def test_each_class_of_page_is_counted_exactly(laptop: Laptop, kept: Kept) -> None:
    found = kept.found
    told = {**found["direct"], "shares": found["shares"], "incidents": found["incidents"]}
    assert {name: told[name] for name in laptop.told.expected} == dict(laptop.told.expected)
    assert laptop.told.expected.keys() > {*CLASSES, "without_page"}


def test_policies_ring_fewer_pages_the_quieter_they_are(kept: Kept) -> None:
    found = kept.found
    pages = {name: done["pages"] for name, done in found["relay"].items()}
    # What people knew already, the relay does not ring.
    assert pages["parity"] == found["direct"]["pages"] - found["direct"]["repeat"]
    assert pages["flap"] < pages["oncall"] < pages["parity"]
    settings = settings_file.parse(found["settings"].encode())
    assert settings["policy"] == {"preset": "parity", "flap": {"transitions": 4, "minutes": 15}, "mode": "shadow"}


def test_nothing_is_changed_at_a_vendor(laptop: Laptop, kept: Kept) -> None:
    assert {method for method, _ in kept.log} == {"GET"}
    assert {call.route for call in laptop.box.bigpanda.calls.all()} == {"incidents", "incident", "activities"}
    assert {call.route for call in laptop.box.events.calls.all()} == {"events", "audits"}
    assert laptop.box.token_requests() == []


def test_run_that_is_broken_off_goes_on_where_it_was(laptop: Laptop, last_days: Kept, tmp_path: Path) -> None:
    folder, calls = tmp_path / "past", list[tuple[str, str]]()
    for most in (5, 15, 20, 1_000_000):
        done = laptop.run("--json", "--keep", str(folder), *LAST_DAYS, most=most)
        calls += laptop.log
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["direct"] == last_days.found["direct"]
    # What was on its way when a run was broken off is asked once more.
    assert len(last_days.log) <= len(calls) <= len(last_days.log) + 30


def test_second_report_on_a_kept_archive_asks_nobody_and_its_page_needs_no_network(
    laptop: Laptop, kept: Kept, tmp_path: Path
) -> None:
    page = tmp_path / "rehearsal.html"
    page.write_text("earlier")
    done = laptop.run("--keep", str(kept.folder), "--html", str(page))
    assert (done.exit_code, laptop.log) == (0, [])
    assert {path.stat().st_mode & 0o777 for path in kept.folder.iterdir()} == {0o600}
    assert f"{kept.found['shares']:,} times" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    text = page.read_text()
    assert ("http" in text, "earlier" in text) == (False, False)
    assert "relay, flap" in text


def test_wrong_usage_leaves_an_earlier_page_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "rehearsal.html"
    page.write_text("earlier")
    assert CliRunner().invoke(main, ["rehearse", "--environment", "e", "--html", str(page)]).exit_code == 2
    assert page.read_text() == "earlier"


def test_without_xmatters_each_share_counts_as_a_page(laptop: Laptop, last_days: Kept) -> None:
    found = json.loads(laptop.run("--json", *LAST_DAYS, has_xmatters=False).stdout)
    assert (found["direct"]["are_assumed"], found["direct"]["pages"]) == (True, last_days.found["shares"])


def test_routes_of_a_settings_file_choose_the_recipients(laptop: Laptop, kept: Kept, tmp_path: Path) -> None:
    file = tmp_path / "platform.yaml"
    route = '{when: {tag.team: "platform"}, recipients: [Platform]}'
    file.write_text(
        "xmatters: {trigger_url: {secret: stored}, auth: {type: url}}\n"
        f"policy: {{preset: oncall, routes: [{route}]}}\n"
    )
    done = laptop.run("--json", "--keep", str(kept.folder), "--settings", str(file))
    found = json.loads(done.stdout)
    assert found["relay"]["platform"]["pages"] == found["relay"]["oncall"]["pages"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "status", "status": 401}, "BigPanda: HTTP 401 for"),
        ({"kind": "status", "status": 403}, "no right to read this"),
        ({"kind": "status", "status": 404}, "there is no environment"),
        ({"kind": "status", "status": 429}, "too many requests (HTTP 429)"),
        ({"kind": "status", "status": 502}, "HTTP 502, 6 times; with --keep, the same command goes on here"),
    ],
)
def test_vendor_that_cannot_be_read_is_named_in_one_sentence(
    laptop: Laptop, tmp_path: Path, fault: dict[str, Any], said: str
) -> None:
    laptop.box.script([fault | {"on": "incidents", "times": None}])
    done = laptop.run("--keep", str(tmp_path / "past"))
    assert done.exit_code == 1
    assert said in " ".join(done.stderr.split())
    assert past.KEY not in done.output


def test_too_many_requests_for_a_while_are_waited_out(laptop: Laptop, last_days: Kept) -> None:
    laptop.box.script([{"kind": "status", "status": 429, "on": "activities", "times": 4}])
    done = laptop.run("--json", *LAST_DAYS)
    assert json.loads(done.stdout)["direct"] == last_days.found["direct"]


def test_tenant_without_a_share_ends_with_3_and_names_the_targets(laptop: Laptop, kept: Kept) -> None:
    done = laptop.run("--target", "webhook.another", "--keep", str(kept.folder))
    assert (done.exit_code, laptop.log) == (3, [])
    assert past.TARGET in " ".join(done.stderr.split())
