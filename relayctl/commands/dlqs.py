"""relayctl dlq with all of its verbs."""

from relayctl.commands.dlq import dlq
from relayctl.commands.dlq_drop import drop
from relayctl.commands.dlq_export import export
from relayctl.commands.dlq_import import import_
from relayctl.commands.dlq_replay import replay

dlq.add_command(replay)
dlq.add_command(drop)
dlq.add_command(export)
dlq.add_command(import_)
