"""relayctl channel with all of its verbs."""

from relayctl.commands.channel import channel
from relayctl.commands.channel_export import export
from relayctl.commands.channel_pause import pause, resume
from relayctl.commands.channel_plan import apply, plan
from relayctl.commands.channel_revoke import revoke
from relayctl.commands.channel_rotate import rotate
from relayctl.commands.channel_set import set_
from relayctl.commands.channel_test import test
from relayctl.commands.channel_undo import undo

channel.add_command(set_)
channel.add_command(rotate)
channel.add_command(revoke)
channel.add_command(test)
channel.add_command(export)
channel.add_command(plan)
channel.add_command(apply)
channel.add_command(undo)
channel.add_command(pause)
channel.add_command(resume)
