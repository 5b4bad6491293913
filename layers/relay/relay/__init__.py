"""Library of the relay. Imports run downwards, from `entrypoints` to `failures` (docs/architecture.md, "Packages").

It has no Lambda handler and no command line. Clocks, sessions, queues and sources of secrets are passed as arguments.
"""
