"""Verbs of relayctl: one module per noun. `channel set`, `revoke` and `test` have modules of their own.

Imports the other modules of `relayctl` and the library.
"""
