"""Run the relay on this machine, in a local cloud with stand-ins for xMatters and BigPanda.

`make demo`, `make sandbox`, `make rehearsal`, `make local-up` and `make local-down` call this command line.
"""

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from relayctl import terminal
from sandbox import interrupts, local, rehearsal
from sandbox.demo import acts, script
from sandbox.environment import leave_aws
from sandbox.errors import SandboxError
from sandbox.steps import Steps

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Run one command; return 0 (done), 1 (failed) or 130 (Ctrl-C). A wrong usage exits with 2."""
    terminal.open_streams()
    arguments = _parser().parse_args()
    interrupts.install()
    leave_aws(os.environ)
    try:
        code: int = arguments.run(arguments)
    except SandboxError as error:
        sys.stderr.write(f"{arguments.command}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{arguments.command}: stopped; nothing that it started is left running\n")
        return 130
    finally:
        interrupts.settle()
    return code


def _up(arguments: argparse.Namespace) -> int:
    steps = Steps("local", Console(stderr=True))
    sys.stdout.write(_where(local.up(_places(arguments.state, "local"), steps)))
    return 0


def _down(arguments: argparse.Namespace) -> int:
    was_running = local.down(_places(arguments.state, "local"))
    sys.stderr.write("local: stopped\n" if was_running else "local: nothing was running\n")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    places = _places(arguments.state, "demo")
    try:
        acts.play(places, Console())
    finally:
        # Not empty after a failure, whose logs stay, or beside a cloud of `make local-up`.
        local.remove_if_empty(places.folder)
        local.remove_if_empty(ROOT / ".local")
    return 0


def _sandbox(arguments: argparse.Namespace) -> int:
    places = _places(arguments.state, "local")
    try:
        script.run(places, Console(), name=arguments.script, opens_browser=arguments.open_browser)
    finally:
        # Not empty after a failure, whose logs stay, or while the cloud stays up.
        local.remove_if_empty(places.folder)
    return 0


def _rehearsal(arguments: argparse.Namespace) -> int:
    return rehearsal.run(arguments.page.resolve(), opens_browser=arguments.open_browser)


def _where(up: local.Local) -> str:
    lines = [
        f"the page           {up.sandbox_url}/",
        f"BigPanda posts to  {up.api_url}/bigpanda/{local.CHANNEL}",
        f"with the header    x-api-key: {local.INBOUND_TOKEN}",
        f"xMatters received  {up.sandbox_url}/signals",
        f"xMatters posts to  {up.api_url}/xmatters/{local.CHANNEL}",
        f"with the header    x-api-key: {local.CALLBACK_TOKEN}",
        f"BigPanda received  {up.sandbox_url}/bigpanda/comments",
        f"relayctl, aws      {' '.join(f'{name}={value}' for name, value in local.credentials(up).items())}",
        "for programs       .local/stack.json",
        "to stop            make local-down",
    ]
    return "\n".join(lines) + "\n"


def _places(state: Path | None, name: str) -> local.Places:
    if state:
        return local.Places(ROOT, state, state / "build")
    folder = ROOT / ".local" if name == "local" else ROOT / ".local" / name
    return local.Places(ROOT, folder, ROOT / ".cache" / "sam" / name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--state", type=Path, metavar="FOLDER", help="folder for all files (default: .local)")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start the local cloud, deploy the relay, and leave both running")
    up.set_defaults(run=_up)
    demo_ = commands.add_parser("demo", help="tell the relay's story in the terminal, check it, then stop everything")
    demo_.set_defaults(run=_demo)
    _add_sandbox(commands)
    rehearsal_ = commands.add_parser("rehearsal", help="rehearse ninety days of a team, and write the report as a page")
    rehearsal_.add_argument("--page", type=Path, default=ROOT / "rehearsal.html", metavar="FILE", help="the page")
    rehearsal_.add_argument("--open-browser", action="store_true", help="open the page in a browser")
    rehearsal_.set_defaults(run=_rehearsal)
    down = commands.add_parser("down", help="stop everything that `up` started")
    down.set_defaults(run=_down)
    return parser


def _add_sandbox(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    sandbox_ = commands.add_parser("sandbox", help="bring everything up with its page, until Ctrl-C")
    sandbox_.add_argument("--script", default="", metavar="NAME", help="play a script: day, incident")
    sandbox_.add_argument("--open-browser", action="store_true", help="open the page in a browser")
    sandbox_.set_defaults(run=_sandbox)


if __name__ == "__main__":
    sys.exit(main())
