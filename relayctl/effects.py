"""Effects of the verbs: AWS sessions, HTTP, clocks and sleep, in one place so that tests can pass fakes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import boto3

from relay.http.client import Outward
from relay.http.session import AllowList, Session

# Makes a session of a `profile_name` and a `region_name`; None of them means what the AWS CLI would take.
type Sessions = Callable[..., boto3.Session]


def _outward(hosts: AllowList) -> Outward:
    return Outward(Session(hosts))


@dataclass(frozen=True)
class Effects:
    """Effects of one run of relayctl.

    Attributes:
        sessions: Makes a boto3 session.
        outward: Makes an HTTP client that may call these hosts.
        clock: Epoch seconds.
        ticks: Seconds that never go back, for deadlines.
        sleep: Waits for that many seconds.
    """

    sessions: Sessions = boto3.Session
    outward: Callable[[AllowList], Outward] = _outward
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
