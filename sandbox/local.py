"""Start and stop everything on this machine: the local cloud with the relay, and both vendors' stand-ins."""

import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox import processes
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.cloud import emulator, relayctl, stack
from sandbox.cloud.emulator import Emulator
from sandbox.environment import REGION
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.server.client import StandIn
from sandbox.steps import Steps

CHANNEL = "demo"
# These credentials are public: they open a relay on this machine only, and examples with them can be copied and run.
INBOUND_TOKEN = "local-demo-token-not-a-secret"
CALLBACK_TOKEN = "local-callback-token-not-a-secret"
CALLBACK_USERNAME, CALLBACK_PASSWORD = "xmatters", "local-callback-password-not-a-secret"
RECIPIENTS = ["Network Operations"]
# Domain of the samples' users in BigPanda.
EMAIL_DOMAIN = "acme.example"


@dataclass(frozen=True)
class Places:
    """Folders of one local cloud.

    Attributes
    ----------
    root
        The clone of the project.
    folder
        Files of the running cloud; removed when it stops.
    build
        Files that make the next build quick; kept.
    """

    root: Path
    folder: Path
    build: Path

    @property
    def cloud(self) -> Path:
        """Folder of the emulator."""
        return self.folder / "cloud"

    @property
    def standin(self) -> Path:
        """Folder of the stand-ins' process."""
        return self.folder / "xmatters"

    @property
    def stack_file(self) -> Path:
        """The file with all addresses, for other programs."""
        return self.folder / "stack.json"

    @property
    def workshop(self) -> stack.Workshop:
        """Folders of the SAM CLI."""
        return stack.Workshop(self.root, self.build, self.folder)


@dataclass(frozen=True)
class Local:
    """Addresses and process ids of a running local cloud, exactly as `stack.json` holds them.

    Attributes
    ----------
    api_url
        Base URL of the relay: BigPanda posts to `/bigpanda/demo` under it, xMatters to `/xmatters/demo`.
    aws_endpoint_url, region
        Address and region of the emulator, for AWS clients.
    stack_name, outputs
        Name and outputs of the relay's stack.
    sandbox_url
        Base URL of the stand-ins' control API; None without stand-ins.
    xmatters_url, bigpanda_url
        Base URLs of the stand-ins; None without them.
    pids
        Process ids: "cloud", and "xmatters" for the process of both stand-ins.
    """

    api_url: str
    aws_endpoint_url: str
    region: str
    stack_name: str
    outputs: dict[str, str]
    sandbox_url: str | None
    xmatters_url: str | None
    bigpanda_url: str | None
    pids: dict[str, int]


def up(places: Places, steps: Steps, *, with_xmatters: bool = True) -> Local:
    """Start everything, or deploy changes into a running cloud; write `stack.json`.

    On a failure or Ctrl-C, everything that this call started is stopped again; a cloud that ran before keeps running.
    """
    with alone(places.folder):
        found = _running(places)
        if found and (found[1] is not None) == with_xmatters:
            steps.say(f"already running on {found[0].endpoint_url}; deploying what changed")
            return _deploy(places, steps, *found)
        return afresh(places, steps, with_xmatters=with_xmatters)


def down(places: Places) -> bool:
    """Stop everything and remove its files, except `build`; return True if anything ran."""
    if not places.folder.is_dir():
        return False
    with alone(places.folder):
        ran = stop(places)
        clear(places)
    return ran


def afresh(places: Places, steps: Steps, *, with_xmatters: bool = True) -> Local:
    """Stop the remains of an earlier run, and start from nothing; the caller holds the folder with `alone`."""
    if stop(places):
        steps.say("stopped the remains of an earlier run")
    try:
        return _deploy(places, steps, *_start(places, steps, with_xmatters=with_xmatters))
    except BaseException:
        stop(places)
        raise


def stop(places: Places) -> bool:
    """Stop everything, and keep the logs, which may explain a failure; return True if anything ran."""
    places.stack_file.unlink(missing_ok=True)
    ran = [background.stop(places.standin), emulator.stop(places.cloud)]
    return any(ran)


def clear(places: Places) -> None:
    """Remove the logs, and the folder if nothing else is in it."""
    for log in places.folder.glob("*.log"):
        log.unlink()
    # A killed `sam` leaves its temporary home folder.
    for home in places.folder.glob("sam-*/"):
        processes.remove(home)
    remove_if_empty(places.folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Lock `folder` for the length of a `with` block; raise SandboxError if another command holds it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _running(places: Places) -> tuple[Emulator, StandIn | None] | None:
    try:
        known = Local(**json.loads(places.stack_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    cloud, vendors = emulator.running(places.cloud), background.running(places.standin)
    if cloud is None or (known.sandbox_url is not None and vendors is None):
        return None
    return cloud, vendors


def _start(places: Places, steps: Steps, *, with_xmatters: bool) -> tuple[Emulator, StandIn | None]:
    with steps.step("starting the cloud"):
        cloud = emulator.start(places.cloud)
    if not with_xmatters:
        return cloud, None
    with steps.step("starting the stand-ins for xMatters and BigPanda"):
        return cloud, background.start(places.standin, places.root, places.stack_file)


def _deploy(places: Places, steps: Steps, cloud: Emulator, vendors: StandIn | None) -> Local:
    with steps.step("building the functions and layers"):
        stack.build(places.workshop)
    with steps.step("deploying the stack"):
        outputs = stack.deploy(places.workshop, cloud.endpoint_url)
    if vendors and not places.stack_file.exists():
        with steps.step(f"setting up the channel {CHANNEL!r}"):
            trigger_url = vendors.add_function(str(uuid.uuid4()), secrets.token_urlsafe(24))
            set_channel(cloud.endpoint_url, trigger_url, bigpanda_settings(vendors))
    pids = {"cloud": cloud.process.pid} | ({"xmatters": vendors.process.pid} if vendors else {})
    result = Local(
        api_url=outputs["BigPandaWebhookUrl"].removesuffix("/bigpanda/{channel}"),
        aws_endpoint_url=cloud.endpoint_url,
        region=REGION,
        stack_name=stack.STACK_NAME,
        outputs=outputs,
        sandbox_url=vendors.control_url if vendors else None,
        xmatters_url=vendors.xmatters_url if vendors else None,
        bigpanda_url=vendors.bigpanda_url if vendors else None,
        pids=pids,
    )
    processes.write_atomically(places.stack_file, json.dumps(asdict(result), indent=2) + "\n")
    return result


def set_channel(endpoint_url: str, trigger_url: str, settings: Sequence[str]) -> None:
    """Make the channel `demo` in the cloud at `endpoint_url`, with this trigger and these further settings."""
    recipients = [part for name in RECIPIENTS for part in ("--recipient", name)]
    wanted = (f"inbound.token={INBOUND_TOKEN}", *settings)
    relayctl.set_channel(endpoint_url, CHANNEL, trigger_url, wanted, recipients)


def bigpanda_settings(vendors: StandIn) -> list[str]:
    """Return a channel's settings for comments and assignments in the BigPanda stand-in, with a new API key for it."""
    api_key = f"BPU-{secrets.token_urlsafe(24)}"
    vendors.let_into_bigpanda(api_key)
    return [
        f"xmatters.callback.token={CALLBACK_TOKEN}",
        f"xmatters.callback.basic.username={CALLBACK_USERNAME}",
        f"xmatters.callback.basic.password={CALLBACK_PASSWORD}",
        f"bigpanda.base_url={vendors.bigpanda_url}",
        f"bigpanda.api_key={api_key}",
        f"bigpanda.environment_id={ENVIRONMENT}",
        "bigpanda.assign=true",
        f"bigpanda.email_domain={EMAIL_DOMAIN}",
    ]


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise SandboxError(f"another command is at work in {folder}; wait for its end, then try again") from error


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if it exists and is empty."""
    try:
        folder.rmdir()
    except OSError:
        return  # it is not empty, or is gone already
