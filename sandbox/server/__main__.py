"""The sandbox's server as a process: both vendors' stand-ins and the control API, until it is stopped."""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from sandbox.page.deployment import StackFile
from sandbox.page.site import joining
from sandbox.server.in_process import serving


def main() -> int:
    """Print one line of JSON with all addresses when the ports are open, and serve until SIGTERM or SIGINT."""
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
        description="Serve stand-ins for xMatters and BigPanda on loopback; print one line of JSON when ready.",
    )
    parser.add_argument("--port", type=_port, default=0, help="port of the control API (default: a free port)")
    parser.add_argument("--xmatters-port", type=_port, default=0, help="port of xMatters (default: a free port)")
    parser.add_argument("--bigpanda-port", type=_port, default=0, help="port of BigPanda (default: a free port)")
    parser.add_argument("--paced", action="store_true", help="apply BigPanda's rate limits: answer 429 above them")
    parser.add_argument("--ready-file", type=Path, help="file that holds the line of JSON, too, while the server runs")
    parser.add_argument(
        "--stack-file", type=Path, help="stack.json of the local cloud, for the page; it may come later"
    )
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
    async with serving(*ports, is_paced=options.paced, joining=joining(StackFile(options.stack_file).find)) as box:
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
        # Written whole under another name first: a reader that waits for the file must not find half a line.
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
