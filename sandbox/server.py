"""Runs the sandbox: inside a test, or as a process of its own (``python -m sandbox.server``)."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from sandbox import bigpanda, xmatters
from sandbox.bigpanda import BigPanda
from sandbox.control import Control
from sandbox.faults import Script
from sandbox.listener import Listener
from sandbox.signals import Signal
from sandbox.tokens import TokenRequest
from sandbox.xmatters import Trigger, XMatters, utc_now


class Box:
    """A running sandbox, for use from any thread but its own.

    `events` are xMatters' events and its REST API for them, `directory` its people and groups, `bigpanda` is BigPanda's
    stand-in.
    """

    def __init__(
        self, xmatters: XMatters, bigpanda: BigPanda, script: Script, vendor: Listener, control: Listener
    ) -> None:
        self.xmatters_url = vendor.url
        self.control_url = control.url
        self.bigpanda = bigpanda
        self.events = xmatters.events
        self.directory = xmatters.directory
        self._xmatters = xmatters
        self._script = script
        self._vendor = vendor
        self._loop = asyncio.get_running_loop()

    def declare(self, auth: object, token_seconds: int = 900) -> Trigger:
        """Make a trigger that takes these credentials, such as ``{"type": "url", "api_key": "k"}``."""
        return self._xmatters.declare(auth, token_seconds=token_seconds)

    def script(self, faults: Sequence[Mapping[str, object]]) -> None:
        """What goes wrong from now on; see `sandbox.faults` for the entries."""
        self._script.rewrite(list(faults))

    def signals(self) -> list[Signal]:
        """The signals xMatters took, in order."""
        return [each for each in self.attempts() if each.accepted]

    def attempts(self) -> list[Signal]:
        """Every call of a trigger, refused and faulted ones too, in order."""
        return self._xmatters.signals.all()

    def token_requests(self) -> list[TokenRequest]:
        """Every request for an OAuth token, in order."""
        return list(self._xmatters.token_requests)

    def revoke_tokens(self) -> None:
        """Let no OAuth token work any more."""
        self._xmatters.tokens.revoke()

    def listening(self, wanted: bool) -> None:
        """Whether xMatters can be reached; when not, connections are refused and open ones cut."""
        change = self._vendor.open() if wanted else self._vendor.close()
        asyncio.run_coroutine_threadsafe(change, self._loop).result(timeout=10)

    def clear(self) -> None:
        """Forget what was sent and made, and what was scripted; what was declared stays, and so do tokens and keys."""
        self._script.rewrite([])
        self._xmatters.clear()
        self.events.make()
        self.bigpanda.clear()


@contextlib.contextmanager
def running(now: Callable[[], datetime] = utc_now, *, is_paced: bool = False) -> Iterator[Box]:
    """A sandbox on free ports for as long as the block lasts, in a thread of its own.

    `is_paced`: whether BigPanda refuses who asks too often.
    """
    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        loop = runner.get_loop()
        thread = threading.Thread(target=loop.run_forever, name="sandbox", daemon=True)
        thread.start()
        stack = contextlib.AsyncExitStack()
        try:
            opening = stack.enter_async_context(serving(now=now, is_paced=is_paced))
            yield asyncio.run_coroutine_threadsafe(opening, loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(stack.aclose(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()


@contextlib.asynccontextmanager
async def serving(
    port: int = 0,
    xmatters_port: int = 0,
    bigpanda_port: int = 0,
    now: Callable[[], datetime] = utc_now,
    *,
    is_paced: bool = False,
) -> AsyncIterator[Box]:
    """All listeners, open while the block lasts; 0 is any free port.

    Raises
    ------
    OSError
        When a port is taken.
    """
    async with contextlib.AsyncExitStack() as stack:
        vendor, other, control = [_listener(stack, each) for each in (xmatters_port, bigpanda_port, port)]
        script = Script()
        its_xmatters = XMatters(vendor.url, script, now)
        its_bigpanda = BigPanda(other.url, script, now, is_paced=is_paced)
        await vendor.serve(lambda: xmatters.application(its_xmatters))
        await other.serve(lambda: bigpanda.application(its_bigpanda))
        await control.serve(Control(its_xmatters, its_bigpanda, script, vendor).application)
        yield Box(its_xmatters, its_bigpanda, script, vendor, control)


def _listener(stack: contextlib.AsyncExitStack, port: int) -> Listener:
    listener = Listener(port)
    stack.push_async_callback(listener.stop)
    return listener


def main() -> int:
    """The process: says on stdout where it is, and runs until it is told to stop (SIGTERM, SIGINT)."""
    options = _parser().parse_args()
    try:
        asyncio.run(_until_stopped(options))
    except OSError as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.server",
        description="xMatters and BigPanda on loopback: prints one line of JSON when ready, runs until it is stopped.",
    )
    parser.add_argument("--port", type=_port, default=0, help="of the control API (default: a free one)")
    parser.add_argument("--xmatters-port", type=_port, default=0, help="of xMatters (default: a free one)")
    parser.add_argument("--bigpanda-port", type=_port, default=0, help="of BigPanda (default: a free one)")
    parser.add_argument("--paced", action="store_true", help="let BigPanda refuse who asks too often")
    parser.add_argument("--ready-file", type=Path, help="where the line is written too, while it runs")
    return parser


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError("must be a number from 0 to 65535")
    return int(text)


async def _until_stopped(options: argparse.Namespace) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    ports = (options.port, options.xmatters_port, options.bigpanda_port)
    async with serving(*ports, is_paced=options.paced) as box:
        where = {
            "control_url": box.control_url,
            "xmatters_url": box.xmatters_url,
            "bigpanda_url": box.bigpanda.url,
            "pid": os.getpid(),
        }
        with _written(json.dumps(where), options.ready_file):
            await stopped.wait()


@contextlib.contextmanager
def _written(line: str, ready_file: Path | None) -> Iterator[None]:
    if ready_file:
        # Whoever waits for the file must never read half of it.
        draft = ready_file.with_name(f"{ready_file.name}.{os.getpid()}")
        draft.write_text(line + "\n")
        draft.replace(ready_file)
    print(line, flush=True)
    try:
        yield
    finally:
        if ready_file:
            ready_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
