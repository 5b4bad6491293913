"""relayctl in a process of its own, for tests with a terminal: `python -m tests.integration.relayctl_process ARGUMENT…`

The process has an AWS account in memory. At the end it prints the secret of the channel `payments`.
"""

import signal
import sys

import pytest
from botocore.exceptions import ClientError

from relayctl.__main__ import main
from tests import samples
from tests.integration.relayctl_cloud import operating
from tests.samples import job

if __name__ == "__main__":
    # Restores a shell's behaviour, since a test runner in the background makes its children ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as environment, operating(environment) as operator:
        if sys.argv[1] == "dlq":
            operator.put(*(job(incident_id=f"{n:024x}") for n in range(3)))
        if "--channel" in sys.argv:
            operator.put(job(channel=sys.argv[sys.argv.index("--channel") + 1], incident_id="65a1b2c3d4e5f60718293a4b"))
        if sys.argv[1:3] in (["channel", "test"], ["channel", "rotate"]):
            operator.keep("payments", xmatters=samples.secret()["xmatters"] | {"recipients": ["Network Operations"]})
        if sys.argv[1] == "status":
            operator.keep("noc")
        try:
            main(sys.argv[1:], prog_name="relayctl", obj=operator.effects())
        except SystemExit as done:
            code = done.code
        try:
            sys.stdout.write(f"kept {operator.secret_text('payments')}\n")
        except ClientError:
            sys.stdout.write("kept nothing\n")
    sys.exit(code)
