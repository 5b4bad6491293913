"""Reconcile runs: compare BigPanda's incidents with the ledger, to detect shares that never arrived."""
