"""Side effects of the verbs in one place: AWS sessions, HTTP, clocks and sleep. Tests pass fakes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import boto3

from relay.http.client import HttpClient
from relay.http.session import AllowList, Session

# Takes `profile_name` and `region_name`; None for either means the AWS CLI's own choice.
type Sessions = Callable[..., boto3.Session]


def _outward(hosts: AllowList) -> HttpClient:
    return HttpClient(Session(hosts))


@dataclass(frozen=True)
class Effects:
    """Side effects of one run of relayctl.

    Attributes:
        sessions: Makes a boto3 session.
        outward: Makes an HTTP client that calls only the hosts of an allow-list.
        clock: Returns epoch seconds.
        ticks: Returns seconds of a monotonic clock, for deadlines.
        sleep: Waits for a number of seconds.
    """

    sessions: Sessions = boto3.Session
    outward: Callable[[AllowList], HttpClient] = _outward
    clock: Callable[[], float] = time.time
    ticks: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
