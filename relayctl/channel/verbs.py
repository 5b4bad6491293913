"""relayctl channel with all of its verbs."""

from relayctl.channel.group import channel
from relayctl.channel.pause import pause, resume
from relayctl.channel.revoke import revoke
from relayctl.channel.rotate import rotate
from relayctl.channel.set import set_
from relayctl.channel.test import test
from relayctl.channel.undo import undo
from relayctl.settings.export import export
from relayctl.settings.plan import apply, plan

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
