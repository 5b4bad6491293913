"""Verbs of relayctl: a module for each verb, or for a group of verbs.

The modules import the other modules of `relayctl` and the library.
"""
