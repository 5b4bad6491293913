"""The local cloud with the relay in it and stand-ins for both vendors beside it: up, left running, down."""

import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from sandbox import cloud, processes, stack, standin, verbs
from sandbox.cloud import REGION, SandboxError
from sandbox.incidents import ENVIRONMENT
from sandbox.steps import Steps

CHANNEL = "demo"
# They open nothing but a relay on this very machine, so they may be known; examples can be copied and run.
INBOUND_TOKEN = "local-demo-token-not-a-secret"
CALLBACK_TOKEN = "local-callback-token-not-a-secret"
CALLBACK_USERNAME, CALLBACK_PASSWORD = "xmatters", "local-callback-password-not-a-secret"
RECIPIENTS = ["Network Operations"]
# How the samples' users are called in BigPanda.
EMAIL_DOMAIN = "acme.example"


@dataclass(frozen=True)
class Places:
    """Where one local cloud keeps its things: `folder` while it lives, `build` for the next one."""

    root: Path
    folder: Path
    build: Path

    @property
    def cloud(self) -> Path:
        """What the cloud itself writes."""
        return self.folder / "cloud"

    @property
    def standin(self) -> Path:
        """What the stand-ins write."""
        return self.folder / "xmatters"

    @property
    def stack_file(self) -> Path:
        """Where others read what is where."""
        return self.folder / "stack.json"

    @property
    def workshop(self) -> stack.Workshop:
        """Where the SAM CLI works."""
        return stack.Workshop(self.root, self.build, self.folder)


@dataclass(frozen=True)
class Local:
    """What is where; `stack.json` holds just this. `api_url` + "/bigpanda/demo" and "/xmatters/demo" take posts."""

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
    """Bring everything up, or deploy what changed into what runs already; writes `stack.json`.

    What it started is stopped again if anything fails or Ctrl-C comes; what ran before is left running.
    """
    with alone(places.folder):
        found = _running(places)
        if found and (found[1] is not None) == with_xmatters:
            steps.say(f"already running on {found[0].endpoint_url}; deploying what changed")
            return _deploy(places, steps, *found)
        return afresh(places, steps, with_xmatters=with_xmatters)


def down(places: Places) -> bool:
    """Stop everything and remove its files, but for what makes the next build quick; whether anything ran."""
    if not places.folder.is_dir():
        return False
    with alone(places.folder):
        ran = stop(places)
        clear(places)
    return ran


def afresh(places: Places, steps: Steps, *, with_xmatters: bool = True) -> Local:
    """Stop what is left of an earlier run and start from nothing; for one who is `alone` in the folder."""
    if stop(places):
        steps.say("stopped what an earlier run had left")
    try:
        return _deploy(places, steps, *_start(places, steps, with_xmatters=with_xmatters))
    except BaseException:
        stop(places)
        raise


def stop(places: Places) -> bool:
    """Stop everything; whether anything ran. Logs stay: they may say why."""
    places.stack_file.unlink(missing_ok=True)
    ran = [standin.stop(places.standin), cloud.stop(places.cloud)]
    return any(ran)


def clear(places: Places) -> None:
    """Remove the logs, and the folder unless somebody else keeps things in it."""
    for log in places.folder.glob("*.log"):
        log.unlink()
    for left_by_a_kill in places.folder.glob("sam-*/"):
        processes.remove(left_by_a_kill)
    remove_if_empty(places.folder)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold `folder` for the length of a `with` block; SandboxError if another command has it."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _running(places: Places) -> tuple[cloud.Cloud, standin.StandIn | None] | None:
    try:
        known = Local(**json.loads(places.stack_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    its_cloud, its_standin = cloud.running(places.cloud), standin.running(places.standin)
    if its_cloud is None or (known.sandbox_url is not None and its_standin is None):
        return None
    return its_cloud, its_standin


def _start(places: Places, steps: Steps, *, with_xmatters: bool) -> tuple[cloud.Cloud, standin.StandIn | None]:
    with steps.step("starting the cloud"):
        its_cloud = cloud.start(places.cloud)
    if not with_xmatters:
        return its_cloud, None
    with steps.step("starting the stand-ins for xMatters and BigPanda"):
        return its_cloud, standin.start(places.standin, places.root)


def _deploy(places: Places, steps: Steps, its_cloud: cloud.Cloud, xmatters: standin.StandIn | None) -> Local:
    with steps.step("building the functions and layers"):
        stack.build(places.workshop)
    with steps.step("deploying the stack"):
        outputs = stack.deploy(places.workshop, its_cloud.endpoint_url)
    if xmatters and not places.stack_file.exists():
        with steps.step(f"setting up the channel {CHANNEL!r}"):
            trigger_url = xmatters.add_function(str(uuid.uuid4()), secrets.token_urlsafe(24))
            set_channel(its_cloud.endpoint_url, trigger_url, bigpanda_settings(xmatters))
    pids = {"cloud": its_cloud.process.pid} | ({"xmatters": xmatters.process.pid} if xmatters else {})
    result = Local(
        api_url=outputs["BigPandaWebhookUrl"].removesuffix("/bigpanda/{channel}"),
        aws_endpoint_url=its_cloud.endpoint_url,
        region=REGION,
        stack_name=stack.STACK_NAME,
        outputs=outputs,
        sandbox_url=xmatters.control_url if xmatters else None,
        xmatters_url=xmatters.xmatters_url if xmatters else None,
        bigpanda_url=xmatters.bigpanda_url if xmatters else None,
        pids=pids,
    )
    processes.write_atomically(places.stack_file, json.dumps(asdict(result), indent=2) + "\n")
    return result


def set_channel(endpoint_url: str, trigger_url: str, settings: Sequence[str]) -> None:
    """Make the demo channel in the cloud at `endpoint_url`, bound to `trigger_url`, with more of these settings."""
    recipients = [part for name in RECIPIENTS for part in ("--recipient", name)]
    wanted = (f"inbound.token={INBOUND_TOKEN}", *settings)
    verbs.set_channel(endpoint_url, CHANNEL, trigger_url, wanted, recipients)


def bigpanda_settings(vendors: standin.StandIn) -> list[str]:
    """What a channel needs so that answers are written into BigPanda's stand-in, which is told of its new key."""
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
        raise SandboxError(f"another command is at work in {folder}; wait until it is done") from error


def remove_if_empty(folder: Path) -> None:
    """Remove a folder, unless there is something in it or it is gone already."""
    try:
        folder.rmdir()
    except OSError:
        return  # somebody else's things are in it, and stay
