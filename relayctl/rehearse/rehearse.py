"""relayctl rehearse: what the relay would have done to a team's own past, before anything is installed."""

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from copy import replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import click
from rich.console import Console

from relay.bigpanda.client import CALLS_A_SECOND
from relay.channels.channel import BIGPANDA_URL, basic
from relay.channels.policy import Mode
from relay.http.session import AllowList
from relayctl import moments, terminal
from relayctl.channel.credential_input import CredentialCommand, credential_option, read_value
from relayctl.rehearse import fetch
from relayctl.rehearse.fetch import Reader
from relayctl.rehearse.findings import figures, rehearse, settings_to_install, show
from relayctl.rehearse.history import Past, Period, read_past, with_answers
from relayctl.settings.settings_file import channel_of, channel_without_credentials, settings_of
from relayctl.stack.deployed import Effects

MOST_DAYS = 400
# A page of 100 events with all their properties.
MAX_ANSWER_BYTES = 32 * 1024 * 1024
POLICIES: Mapping[str, Mapping[str, Any]] = {
    "parity": {"preset": "parity"},
    "oncall": {"preset": "oncall"},
    "flap": {"preset": "parity", "flap": {"transitions": 4, "minutes": 15}},
}


@click.command(cls=CredentialCommand, short_help="Show what the relay would have done to your own past.")
@moments.since_option("90d", "The past since: 90d, 12h or a time.")
@click.option(
    "--environment",
    "environments",
    multiple=True,
    required=True,
    metavar="ID",
    help="Environment of BigPanda, by its id; repeatable.",
)
@credential_option("--bigpanda-key", "BigPanda's user API key.")
@click.option("--bigpanda-url", default=BIGPANDA_URL, metavar="URL", help="Another host of BigPanda's API.")
@click.option("--xmatters-url", metavar="URL", help="xMatters' host. Without it, pages are assumed.")
@click.option("--username", metavar="NAME", help="User, or API key, of xMatters' REST API.")
@credential_option("--password", "Password of that user, or secret of that key.")
@click.option(
    "--property",
    "key",
    default="incident_id",
    show_default=True,
    metavar="NAME",
    help="Text property with BigPanda's id.",
)
@click.option(
    "--target", "targets", multiple=True, metavar="NAME", help="Share target, such as webhook.xmatters; repeatable."
)
@click.option(
    "--settings",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Settings file of a channel to rehearse, too; repeatable.",
)
@click.option(
    "--keep", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Keep what is fetched there."
)
@click.option("--html", type=click.File("a", "utf-8", lazy=False), metavar="FILE", help="Write a page, too.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def rehearse_(
    context: click.Context,
    /,
    *,
    since: float,
    files: tuple[Path, ...],
    keep: Path | None,
    html: IO[str] | None,
    as_json: bool,
    **vendors: Any,
) -> None:
    """Show what the relay would have done to your own past.

    Needs no AWS account, and only reads: BigPanda's incidents and activities, and, with --xmatters-url, the pages that
    xMatters made of them. The relay's own code then decides about each share as it came, for the policies parity,
    oncall and flap, and for each settings file.

    20,000 incidents take about 68 minutes. With --keep, a run that was broken off goes on where it was, and a second
    report asks nobody again.

    \b
    Example:
      relayctl rehearse --environment 5f0a --bigpanda-key @bp.key --keep past
      relayctl rehearse --environment 5f0a --bigpanda-key @bp.key --keep past
        --xmatters-url https://acme.xmatters.com --username relay
        --password @xm.password --html rehearsal.html
    """
    effects: Effects = context.obj or Effects()
    now = effects.clock()
    if not now - MOST_DAYS * moments.DAY <= since < now:
        raise click.UsageError(f"--since: use a time in the last {MOST_DAYS} days")
    channels = {name: channel_of(name, settings_of(policy)) for name, policy in POLICIES.items()}
    channels |= {each.name: each for each in map(channel_without_credentials, files)}
    with nullcontext(keep) if keep else tempfile.TemporaryDirectory(prefix="relayctl-rehearse-") as folder:
        readers = _readers(effects, Path(folder), vendors)
        # A run that goes on keeps its first period.
        period = Period(*fetch.kept(Path(folder), "period", lambda: [int(since), int(now)]))
        if keep and period.since != int(since):
            terminal.say(f"{keep} begins at {moments.moment(period.since)}; the report is about that time")
        past = _past(period, readers, vendors)
    if not past.histories:
        named = ", ".join(sorted(past.targets)) or "none"
        terminal.nothing(f"nothing was shared with a webhook since {moments.moment(period.since)}; targets: {named}")
    rehearsals = {}
    for name, channel in channels.items():
        with terminal.status(f"rehearsing {name} …"):
            # It decides about the past: live, without pauses, and without questions to BigPanda.
            policy = channel.policy._replace(mode=Mode.LIVE, pauses=())
            rehearsals[name] = rehearse(past.histories, replace(channel, policy=policy, bigpanda=None))
    found = figures(past, rehearsals, are_assumed=len(readers) == 1)
    found = {"since": moments.iso(period.since), "until": moments.iso(period.until), **found}
    settings = settings_to_install(found, POLICIES)
    console = Console(record=True, file=StringIO() if as_json else None, markup=False, highlight=False)
    show(console, found, settings)
    if as_json:
        terminal.document({**found, "settings": settings})
    if html:
        # Opened to append: a run that fails leaves an earlier page as it is.
        if html.seekable() and html.name != "<stdout>":
            html.truncate(0)
        html.write(console.export_html())
        terminal.say(f"written: {html.name}")


def _readers(effects: Effects, folder: Path, options: Mapping[str, Any]) -> list[Reader]:
    """Return the reader of BigPanda, and that of xMatters if it is to be asked. Raises UsageError."""
    url, username, password = (options[name] for name in ("xmatters_url", "username", "password"))
    if (url is None) != (username is None or password is None):
        raise click.UsageError("--xmatters-url, --username and --password belong together")
    if options["bigpanda_key"] is None:
        raise click.UsageError("give --bigpanda-key @FILE")

    def reader(vendor: str, url: str, authorization: str, calls_a_second: float) -> Reader:
        parts = urlsplit(url)
        hosts = AllowList(vendor, (parts.hostname or "",), loopback=parts.scheme == "http")
        headers = {"Authorization": authorization, "Accept": "application/json"}
        outward = effects.outward(hosts, most=MAX_ANSWER_BYTES)
        return Reader(vendor, outward, url.rstrip("/"), headers, (1 + fetch.MARGIN) / calls_a_second, effects, folder)

    read = partial(read_value, allows_literals=False)
    token = read("--bigpanda-key", "bigpanda.api_key", options["bigpanda_key"])
    found = [reader("BigPanda", options["bigpanda_url"], f"Bearer {token}", CALLS_A_SECOND)]
    if url:
        secret = read("--password", "xmatters.rest.auth.password", password)
        found.append(reader("xMatters", url, basic(username, secret), fetch.XMATTERS_CALLS_A_SECOND))
    return found


def _past(period: Period, readers: Sequence[Reader], options: Mapping[str, Any]) -> Past:
    bigpanda, *others = readers
    listed = fetch.list_incidents(bigpanda, period, options["environments"])
    incidents = fetch.read_incidents(bigpanda, listed)
    if not others:
        return read_past(period, incidents, None, options["targets"])
    [xmatters] = others
    pages = fetch.read_pages(xmatters, period, options["key"], {each.id for each in listed})
    past = read_past(period, incidents, pages, options["targets"])
    made = [(page, moment) for history in past.histories for page, moment in history.pages]
    critical = [page.id for page, moment in made if (page.status or moment.status) == "critical"]
    if past.histories and not made:
        terminal.say(
            f"warning: no page of xMatters has the id of a shared incident in a property, such as {options['key']}: "
            f"--property names another, and {options['username']} sees only the pages that this user may see"
        )
    return with_answers(past, fetch.read_audits(xmatters, critical))
