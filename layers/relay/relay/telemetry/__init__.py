"""Telemetry: one structured log line for each share and job, and a metric for each outcome and reason.

Imports `relay.jobs`, `relay.ledger` and `relay.channels`.
"""
