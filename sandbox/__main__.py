"""The local cloud's command line, which `make demo`, `make local-up` and `make local-down` call."""

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from rich.console import Console

from sandbox import demo, local
from sandbox.cloud import SandboxError, aws_environment, leave_aws
from sandbox.steps import Steps

ROOT = Path(__file__).resolve().parent.parent
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main() -> int:
    """Run one command; 0 done, 1 failed, 2 usage, 130 Ctrl-C."""
    arguments = _parser().parse_args()
    for number in STOPPING:
        signal.signal(number, _interrupt)
    leave_aws(os.environ)
    try:
        code: int = arguments.run(arguments)
    except SandboxError as error:
        sys.stderr.write(f"{arguments.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{arguments.command}: stopped; nothing that it started is left running\n")
        return 130
    return code


def _up(arguments: argparse.Namespace) -> int:
    steps = Steps("local", Console(stderr=True))
    result = local.up(_places(arguments.state, "local"), steps, with_xmatters=not arguments.no_xmatters)
    sys.stdout.write(_where(result))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    was_running = local.down(_places(arguments.state, "local"))
    sys.stderr.write("local: stopped\n" if was_running else "local: nothing was running\n")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    places = _places(arguments.state, "demo")
    try:
        demo.demo(places, Console())
    finally:
        # Empty unless it failed, when its logs are there, or a cloud of local-up is.
        local.remove_if_empty(places.folder)
        local.remove_if_empty(ROOT / ".local")
    return 0


def _where(up: local.Local) -> str:
    channel = [
        f"BigPanda posts to  {up.api_url}/bigpanda/{local.CHANNEL}",
        f"with the header    x-api-key: {local.INBOUND_TOKEN}",
        f"xMatters           {up.sandbox_url}/signals",
        f"calls back         {up.api_url}/xmatters/{local.CHANNEL}",
        f"with the header    x-api-key: {local.CALLBACK_TOKEN}",
        f"BigPanda           {up.sandbox_url}/bigpanda/comments",
    ]
    none = ["xMatters           off: make a channel with relayctl channel set NAME --trigger-url @FILE"]
    lines = [
        *(channel if up.sandbox_url else none),
        f"relayctl, aws      {' '.join(f'{name}={value}' for name, value in _credentials(up).items())}",
        "for programs       .local/stack.json",
        "stop it            make local-down",
    ]
    return "\n".join(lines) + "\n"


def _credentials(up: local.Local) -> dict[str, str]:
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    return {name: aws_environment(up.aws_endpoint_url)[name] for name in names}


def _places(state: Path | None, name: str) -> local.Places:
    if state:
        return local.Places(ROOT, state, state / "build")
    folder = ROOT / ".local" if name == "local" else ROOT / ".local" / name
    return local.Places(ROOT, folder, ROOT / ".cache" / "sam" / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="keep everything there, not in .local")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the local cloud, deploy the relay into it, leave it running")
    up.add_argument("--no-xmatters", action="store_true", help="without the stand-ins for xMatters and BigPanda")
    up.set_defaults(run=_up)
    demo_ = commands.add_parser("demo", help="relay the samples, once with xMatters down, and stop again")
    demo_.set_defaults(run=_demo)
    down = commands.add_parser("down", help="stop what up started")
    down.set_defaults(run=_down)
    return parser


def _interrupt(*_: object) -> NoReturn:
    # A second Ctrl-C must not cut short what the first one set going: stopping all that was started.
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
