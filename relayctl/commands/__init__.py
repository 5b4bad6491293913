"""The verbs of relayctl: one module per noun; `channel` has one more for each verb with a long story of its own.

Imports the other modules of `relayctl` and the library.
"""
