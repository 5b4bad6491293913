"""The relay on one machine: a local cloud, and stand-ins for xMatters and BigPanda on loopback.

- `xmatters`, `bigpanda`: the stand-ins of the two vendors; `http`: the parts that both of them use.
- `clock`: the clock of xMatters' delays, which can be turned ahead.
- `server`: both stand-ins as one process, with a control API.
- `cloud`: the AWS emulator, and the relay's stack deployed into it.
- `page`: a page in the browser that shows BigPanda, the relay and xMatters side by side.
- `team`: the people, the group and the routes of the channel `demo`.
- `local`: all of it, started and stopped together; `demo`: stories told with it.

The relay and relayctl import nothing of this package.
"""
