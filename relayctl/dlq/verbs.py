"""relayctl dlq with all of its verbs."""

from relayctl.dlq.drop import drop
from relayctl.dlq.export import export
from relayctl.dlq.group import dlq
from relayctl.dlq.import_ import import_
from relayctl.dlq.replay import replay

dlq.add_command(replay)
dlq.add_command(drop)
dlq.add_command(export)
dlq.add_command(import_)
