"""The demo behind `make demo`: samples relayed through the local cloud in four acts, each claim checked.

May import everything else of the sandbox.
"""
