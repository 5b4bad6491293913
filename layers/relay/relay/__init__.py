"""Library of the relay. Imports run downwards, from `entrypoints` to `failures` (docs/architecture.md, "Packages").

It holds no Lambda handler and no command line. Its clocks, sleep functions, sessions, queues and sources of secrets are
passed as arguments.
"""
