"""Rehearsal of `sandbox.past` by relayctl, with both vendors' stand-ins: what `make rehearsal` runs."""

import tempfile
import time
import webbrowser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from relayctl.__main__ import main
from relayctl.stack.deployed import Effects
from sandbox import past
from sandbox.server.in_process import Box, running

# The vendors' limits hold in a time that goes faster than ours: five calls a second would take some minutes.
FASTER = 60.0


@contextmanager
def remembering(days: int = past.DAYS) -> Iterator[tuple[past.Past, Box]]:
    """Run both stand-ins, which remember a past that ends now."""
    told = past.Past(time.time(), days)
    clock = past.Clock(told.until)
    with running(now=clock) as box:
        past.tell(told, box, clock)
        yield told, box


def arguments(box: Box, folder: Path, *more: str) -> list[str]:
    """Return the arguments of relayctl that rehearse this past; `folder` gets files with the credentials."""
    files = {"bigpanda.key": past.KEY, "xmatters.password": past.LOGIN[1]}
    for name, text in files.items():
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(text)
    bigpanda = ("--bigpanda-url", box.bigpanda.url, "--bigpanda-key", f"@{folder}/bigpanda.key")
    xmatters = ("--xmatters-url", box.xmatters_url, "--username", past.LOGIN[0])
    password = ("--password", f"@{folder}/xmatters.password")
    return ["rehearse", "--environment", past.ENVIRONMENT, *bigpanda, *xmatters, *password, *more]


def effects() -> Effects:
    """Return effects whose waits are shorter."""
    return Effects(
        ticks=lambda: FASTER * time.monotonic(),
        sleep=lambda seconds: time.sleep(seconds / FASTER),
    )


def run(page: Path, *, opens_browser: bool, more: Sequence[str] = ()) -> int:
    """Rehearse, write the report and its page, and return relayctl's exit code."""
    with remembering() as (_, box), tempfile.TemporaryDirectory() as folder:
        typed = arguments(box, Path(folder), "--html", str(page), *more)
        code = main.main(typed, obj=effects(), standalone_mode=False, prog_name="relayctl") or 0
    if opens_browser:
        webbrowser.open(page.as_uri())
    return int(code)
