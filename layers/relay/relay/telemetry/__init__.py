"""Telemetry: one structured log line for each share, callback and job, and metrics of shares and of failures.

Imports `relay.jobs`, `relay.ledger` and `relay.channels`.
"""
