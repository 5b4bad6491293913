"""Reconcile runs: compare BigPanda's incidents with the ledger, to detect shares that never arrived.

It may import every package of `relay` but `relay.entrypoints` and `relay.sweeper`.
"""
