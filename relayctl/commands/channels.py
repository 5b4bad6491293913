"""relayctl channel with all of its verbs."""

from relayctl.commands.channel import channel
from relayctl.commands.channel_revoke import revoke
from relayctl.commands.channel_set import set_
from relayctl.commands.channel_test import test

channel.add_command(set_)
channel.add_command(revoke)
channel.add_command(test)
