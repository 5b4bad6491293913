"""The local cloud: the AWS emulator, the relay's stack in it, its queues, and relayctl run against it.

Imports relayctl, and three modules of the sandbox: `environment`, `errors` and `processes`.
"""
