"""The relay's library: one noun a module, imports running downwards from `bootstrap` to `reasons`.

It holds no Lambda handler and no command line; clocks, sleeps, sessions, queues and secret sources are arguments.
"""
