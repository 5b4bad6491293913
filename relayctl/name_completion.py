"""Completion of channels' names in the shell: from the last `channel list`, else from a call with a short time limit.

The cached file has names only. No secret is read, and no error reaches the shell.
"""

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import click

from relay.channels.policy import CHANNEL_NAME

# Names from a younger file are used without a call.
FRESH_SECONDS = 600.0
# Time limit of the call, since a person waits for the answer to the tab key.
CALL_SECONDS = 2.5
# Other stacks, accounts and regions have files of their own.
_OPTIONS = ("stack_name", "region", "profile")
_VARIABLES = ("RELAY_STACK", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL")


def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Return the names of channels that begin with the incomplete word; an empty list after any error."""
    return completed(ctx, incomplete, _listed, time.time)


def completed(
    ctx: click.Context,
    incomplete: str,
    ask: Callable[[click.Context], list[str]],
    clock: Callable[[], float],
    seconds: float = CALL_SECONDS,
) -> list[str]:
    """Return the names as `complete` does, from the cached file or from `ask`.

    Args:
        ctx: The context of the verb that is typed.
        incomplete: The incomplete word.
        ask: Lists the channels of the stack.
        clock: Returns epoch seconds.
        seconds: Time limit of `ask`.
    """
    at, names = _read(ctx)
    if not 0 <= clock() - at < FRESH_SECONDS:
        asked = _within(seconds, lambda: ask(ctx))
        if asked is not None:
            names = asked
            remember(ctx, names, clock)
    return sorted({name for name in names if re.match(CHANNEL_NAME, name) and name.startswith(incomplete)})


def remember(ctx: click.Context, names: Iterable[str], clock: Callable[[], float]) -> None:
    """Write the names to the cached file, for the next completion with the same options. Errors are ignored."""
    with suppress(OSError, RuntimeError):
        path = _path(ctx)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Replaced in one step: another shell may read it now.
        new = path.with_suffix(f".{os.getpid()}")
        new.write_text(json.dumps({"at": clock(), "names": list(names)}))
        new.replace(path)


def forget(ctx: click.Context) -> None:
    """Delete the cached file, after a channel was made or removed. Errors are ignored."""
    with suppress(OSError, RuntimeError):
        _path(ctx).unlink(missing_ok=True)


def _read(ctx: click.Context) -> tuple[float, list[str]]:
    """Return the time (epoch seconds) and the names of the cached file; 0 and no names if it cannot be read."""
    with suppress(OSError, RuntimeError, ValueError, TypeError, KeyError):
        kept = json.loads(_path(ctx).read_text())
        return float(kept["at"]), [str(name) for name in kept["names"]]
    return 0.0, []


def _path(ctx: click.Context) -> Path:
    """Return the path of the cached file. Raises RuntimeError if there is no home directory."""
    folder = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    chosen = [str(ctx.params.get(name) or "") for name in _OPTIONS]
    chosen += [os.environ.get(name, "") for name in _VARIABLES]
    name = hashlib.sha256(json.dumps(chosen).encode()).hexdigest()[:16]
    return Path(folder) / "relayctl" / f"channels-{name}.json"


def _within[T](seconds: float, work: Callable[[], T]) -> T | None:
    """Call the function `work` in a thread, and return its result.

    Return None if the function failed, or did not end within `seconds`.
    """
    found = list[T]()

    def run() -> None:
        # The shell shows what is written here in the middle of the operator's line.
        with suppress(Exception):
            found.append(work())

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return found[0] if found else None


def _listed(ctx: click.Context) -> list[str]:
    # Imported here: names from the file need no AWS SDK.
    from relayctl.channel.store import ChannelStore  # noqa: PLC0415
    from relayctl.stack.deployed import STACK_NAME, opened  # noqa: PLC0415

    options: dict[str, Any] = {name: ctx.params.get(name) for name in _OPTIONS}
    stack = opened(ctx, options["stack_name"] or STACK_NAME, options["region"], options["profile"])
    # Unconfirmed: the shell waits, and no secret is read for a completion.
    return [name for name, _ in ChannelStore(stack).names(confirms=False)]
