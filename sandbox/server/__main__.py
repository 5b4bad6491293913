"""The sandbox's server as a process: both vendors' stand-ins and the control API, until it is stopped."""

import argparse
import asyncio
import json
import signal
import sys
from pathlib import Path

from sandbox import processes
from sandbox.cloud.deployment import StackFile
from sandbox.page.site import joining
from sandbox.server.in_process import serving


def main() -> int:
    """Serve on free ports until SIGTERM or SIGINT; a file holds all addresses, as JSON, when the ports are open."""
    asyncio.run(_until_stopped(_parser().parse_args()))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sandbox.server", description="Serve stand-ins for xMatters and BigPanda on loopback."
    )
    parser.add_argument("ready_file", type=Path, help="file to write with the addresses, as JSON, when ready")
    parser.add_argument(
        "--stack-file", type=Path, help="stack.json of the local cloud, for the page; it may come later"
    )
    return parser


async def _until_stopped(options: argparse.Namespace) -> None:
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    async with serving(joining=joining(StackFile(options.stack_file).find)) as box:
        where = {
            "control_url": box.control_url,
            "xmatters_url": box.xmatters_url,
            "bigpanda_url": box.bigpanda.url,
        }
        processes.write_atomically(options.ready_file, json.dumps(where))
        await stopped.wait()


if __name__ == "__main__":
    sys.exit(main())
