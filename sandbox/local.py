"""Start and stop everything on this machine: the local cloud with the relay, and both vendors' stand-ins."""

import fcntl
import json
import os
import secrets
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from sandbox import processes, team
from sandbox.bigpanda.incidents import ENVIRONMENT
from sandbox.cloud import emulator, relayctl, stack
from sandbox.cloud.deployment import Deployment, client
from sandbox.cloud.emulator import Emulator
from sandbox.environment import REGION, aws_environment
from sandbox.errors import SandboxError
from sandbox.server import background
from sandbox.server.client import StandIn
from sandbox.steps import Steps

CHANNEL = "demo"
# These credentials are public: they open a relay on this machine only, and examples with them can be copied and run.
INBOUND_TOKEN = "local-demo-token-not-a-secret"
CALLBACK_TOKEN = "local-callback-token-not-a-secret"
CALLBACK_USERNAME, CALLBACK_PASSWORD = "xmatters", "local-callback-password-not-a-secret"
RECIPIENTS = team.RECIPIENTS
# Shorter than the default of 15 s, since people at the page do not want to wait so long between two clicks.
SECONDS_BETWEEN_SIGNALS = 5
# The shortest time that a channel takes, so that a person at the page sees an unheard critical; the default is 300 s.
NOTIFIED_WITHIN_SECONDS = 60
ANSWERED_WITHIN_SECONDS = 120
# Domain of the samples' users in BigPanda.
EMAIL_DOMAIN = "acme.example"


@dataclass(frozen=True)
class Places:
    """Folders of one local cloud.

    Attributes:
        root: The clone of the project.
        folder: Files of the running cloud; removed when it stops.
        build: Files that make the next build quick; kept.
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
    def owner(self) -> Path:
        """File that names the command that stops the cloud when the command ends; no file if the cloud stays up."""
        return self.folder / "owner.json"

    @property
    def deployed_file(self) -> Path:
        """File with a hash of the sources that were deployed last; removed with the cloud's folder."""
        return self.cloud / "deployed"

    @property
    def workshop(self) -> stack.Workshop:
        """Folders of the SAM CLI."""
        return stack.Workshop(self.root, self.build, self.folder)


@dataclass(frozen=True)
class Local(Deployment):
    """Addresses and process ids of a running local cloud, exactly as `stack.json` holds them.

    Attributes:
        api_url: Base URL of the relay: BigPanda posts to `/bigpanda/demo` under it, xMatters to `/xmatters/demo`.
        sandbox_url: Base URL of the stand-ins' control API.
        xmatters_url, bigpanda_url: Base URLs of the stand-ins.
        pids: Process ids: "cloud", and "xmatters" for the process of both stand-ins.
    """

    api_url: str
    sandbox_url: str
    xmatters_url: str
    bigpanda_url: str
    pids: dict[str, int]


@dataclass(frozen=True)
class Joined:
    """A running local cloud that a command uses.

    Attributes:
        up: Its addresses.
        vendors: Client of both stand-ins.
        stays: True if the cloud ran before, and stays up after the command.
    """

    up: Local
    vendors: StandIn
    stays: bool


def up(places: Places, steps: Steps) -> Local:
    """Start everything, or deploy changes into a running cloud; write `stack.json`.

    On a failure or Ctrl-C, everything that this call started is stopped again; a cloud that ran before keeps running.
    """
    with alone(places.folder):
        places.owner.unlink(missing_ok=True)
        return _up(places, steps)


@contextmanager
def joined(places: Places, steps: Steps) -> Iterator[Joined]:
    """Use the local cloud that runs already, and leave it up; or start one, and stop it at the end of the block.

    A cloud of an earlier command that was killed is taken over, and stopped at the end.

    Raises SandboxError if the cloud does not start.
    """
    is_guest = True
    try:
        with alone(places.folder):
            is_guest = _is_to_stay(places)
            if not is_guest:
                processes.write_atomically(places.owner, processes.own_record())
            up = _up(places, steps)
        vendors = background.running(places.standin)
        if vendors is None:
            raise SandboxError("the stand-ins for xMatters and BigPanda ended right after their start")
        yield Joined(up, vendors, is_guest)
    except SandboxError:
        # The logs stay, since they may explain the failure.
        _leave(places, steps, is_guest=is_guest, keeps_logs=True)
        raise
    finally:
        _leave(places, steps, is_guest=is_guest)


def credentials(up: Local) -> dict[str, str]:
    """Return the environment variables with which relayctl and the AWS CLI use a local cloud."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
    return {name: aws_environment(up.aws_endpoint_url)[name] for name in names}


def down(places: Places) -> bool:
    """Stop everything and remove its files, except `build`; return True if anything ran."""
    if not places.folder.is_dir():
        return False
    with alone(places.folder):
        # First, so that a command that uses the cloud does not try to stop it, too.
        places.owner.unlink(missing_ok=True)
        ran = stop(places)
        clear(places)
    return ran


def afresh(places: Places, steps: Steps) -> Local:
    """Stop what is left of an earlier local cloud, and start a new one. The caller must hold the lock of `alone`."""
    if stop(places):
        steps.say("stopped the remains of an earlier run")
    try:
        with steps.step("starting the cloud"):
            cloud = emulator.start(places.cloud)
        with steps.step("starting the stand-ins for xMatters and BigPanda"):
            vendors = background.start(places.standin, places.root, places.stack_file)
        return made_known(places, steps, cloud, vendors, _deploy(places, steps, cloud))
    except BaseException:
        stop(places)
        raise


def made_known(
    places: Places,
    steps: Steps,
    cloud: Emulator,
    vendors: StandIn,
    outputs: Mapping[str, str],
    known: Local | None = None,
) -> Local:
    """Set up the channel `demo` unless these stand-ins have it already, and write `stack.json`.

    `known` is what `stack.json` says; None for a new cloud.
    """
    is_known = known and known.sandbox_url == vendors.control_url and _has_channel(cloud, outputs)
    if not is_known:
        with steps.step(f"setting up the channel {CHANNEL!r}"):
            _set_up_channel(cloud, vendors, _api_url(outputs))
    result = Local(
        api_url=_api_url(outputs),
        aws_endpoint_url=cloud.endpoint_url,
        region=REGION,
        stack_name=stack.STACK_NAME,
        outputs=outputs,
        sandbox_url=vendors.control_url,
        xmatters_url=vendors.xmatters_url,
        bigpanda_url=vendors.bigpanda_url,
        pids={"cloud": cloud.process.pid, "xmatters": vendors.process.pid},
    )
    processes.write_atomically(places.stack_file, json.dumps(asdict(result), indent=2) + "\n")
    return result


def stop(places: Places) -> bool:
    """Stop everything, and keep the logs, which may explain a failure; return True if anything ran."""
    places.stack_file.unlink(missing_ok=True)
    # At the same time: each ends a process, and removes its files. Each warm function has a thousand of them.
    with ThreadPoolExecutor() as pool:
        stops = (pool.submit(background.stop, places.standin), pool.submit(emulator.stop, places.cloud))
    return any(each.result() for each in stops)


def clear(places: Places) -> None:
    """Remove the logs of a stopped local cloud, and its folder if nothing else is in it."""
    for log in places.folder.glob("*.log"):
        log.unlink()
    places.owner.unlink(missing_ok=True)
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
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise SandboxError(f"another command is at work in {folder}; wait for its end, then try again") from error
        yield
    finally:
        os.close(handle)


def _is_to_stay(places: Places) -> bool:
    """Return True if a local cloud runs already, and this command must not stop it.

    That is so if the cloud has no owner (`Places.owner`), or if its owner, another command, still runs.
    """
    return _running(places) is not None and (not places.owner.exists() or processes.recorded(places.owner) is not None)


def _leave(places: Places, steps: Steps, *, is_guest: bool, keeps_logs: bool = False) -> None:
    """Stop the local cloud and remove its logs, if this command still owns the cloud.

    With `is_guest`, the cloud is not this command's, and stays up. Otherwise the command owns the cloud while the
    file `Places.owner` names the command's process. Another command may have taken the cloud over, or stopped it.
    With `keeps_logs`, the logs stay.
    """
    if is_guest or not processes.is_own(places.owner):
        return
    with steps.step("stopping the local cloud"), alone(places.folder):
        places.owner.unlink()
        stop(places)
        if not keeps_logs:
            clear(places)


def _up(places: Places, steps: Steps) -> Local:
    found = _running(places)
    if found is None:
        return afresh(places, steps)
    cloud, vendors, known = found
    is_deployed = places.deployed_file.exists() and places.deployed_file.read_text() == places.workshop.fingerprint()
    what = "nothing changed since it was deployed" if is_deployed else "deploying what changed"
    steps.say(f"already running on {cloud.endpoint_url}; {what}")
    outputs = known.outputs if is_deployed else _deploy(places, steps, cloud)
    return made_known(places, steps, cloud, vendors, outputs, known)


def _running(places: Places) -> tuple[Emulator, StandIn, Local] | None:
    try:
        known = Local(**json.loads(places.stack_file.read_text()))
    except (OSError, ValueError, TypeError):
        return None
    cloud, vendors = emulator.running(places.cloud), background.running(places.standin)
    if cloud is None or vendors is None:
        return None
    return cloud, vendors, known


def _deploy(places: Places, steps: Steps, cloud: Emulator) -> dict[str, str]:
    fingerprint = places.workshop.fingerprint()
    with steps.step("building the functions and layers"):
        stack.build(places.workshop)
    with steps.step("deploying the stack"):
        outputs = stack.deploy(places.workshop, cloud.endpoint_url)
    processes.write_atomically(places.deployed_file, fingerprint)
    return outputs


def _has_channel(cloud: Emulator, outputs: Mapping[str, str]) -> bool:
    """Return False if the channel `demo` was removed, as by `relayctl uninstall`."""
    pages = client(cloud.endpoint_url, "secretsmanager").get_paginator("list_secrets").paginate()
    return f"{outputs['SecretPrefix']}/{CHANNEL}" in {each["Name"] for page in pages for each in page["SecretList"]}


def _api_url(outputs: Mapping[str, str]) -> str:
    return outputs["BigPandaWebhookUrl"].removesuffix("/bigpanda/{channel}")


def _set_up_channel(cloud: Emulator, vendors: StandIn, api_url: str) -> None:
    """Make the channel `demo` in the relay, and its counterparts in both stand-ins.

    xMatters gets the trigger, the people and the URL for callbacks; BigPanda gets the URL for its webhooks.
    """
    function = str(uuid.uuid4())
    trigger_url = vendors.add_function(function, secrets.token_urlsafe(24))
    vendors.have_phones(team.PEOPLE, team.GROUPS)
    # For the pages of this trigger only: callbacks for other channels' pages would be strange to this channel.
    vendors.send_callbacks(f"{api_url}/xmatters/{CHANNEL}", ("x-api-key", CALLBACK_TOKEN), function=function)
    set_channel(cloud.endpoint_url, trigger_url, [*bigpanda_settings(vendors), *xmatters_settings(vendors)])
    vendors.share_with(f"{api_url}/bigpanda/{CHANNEL}", ("Authorization", f"Bearer {INBOUND_TOKEN}"))


def set_channel(endpoint_url: str, trigger_url: str, settings: Sequence[str]) -> None:
    """Make or change the channel `demo` in the cloud at `endpoint_url`; `settings` are KEY=VALUE, as in relayctl."""
    recipients = [part for name in RECIPIENTS for part in ("--recipient", name)]
    wanted = (f"inbound.token={INBOUND_TOKEN}", *settings)
    relayctl.set_channel(partial(relayctl.run, endpoint_url), CHANNEL, trigger_url, wanted, *recipients)


def bigpanda_settings(vendors: StandIn) -> list[str]:
    """Add an API key to the BigPanda stand-in; return a channel's settings for callbacks, comments and assignments."""
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


def xmatters_settings(vendors: StandIn) -> list[str]:
    """Set the credentials of xMatters' REST API; return a channel's settings for that API and the team's routes."""
    vendors.let_into_rest(team.REST_AUTH)
    rest = {"base_url": vendors.xmatters_url, "auth": team.REST_AUTH}
    return [
        f"xmatters.rest={json.dumps(rest)}",
        f"policy.routes={json.dumps(team.ROUTES)}",
        f"policy.min_seconds_between_signals={SECONDS_BETWEEN_SIGNALS}",
        f"policy.notified_within_seconds={NOTIFIED_WITHIN_SECONDS}",
        f"policy.answered_within_seconds={ANSWERED_WITHIN_SECONDS}",
    ]


def remove_if_empty(folder: Path) -> None:
    """Remove a folder if it exists and is empty."""
    try:
        folder.rmdir()
    except OSError:
        return  # it is not empty, or is gone already
