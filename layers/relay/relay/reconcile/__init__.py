"""Reconcile runs: BigPanda's incidents compared with the ledger, so that a share that never came is noticed.

Imports everything but `relay.entrypoints`.
"""
