"""HTTP client for vendor APIs: keep-alive session, host allow-list, deadlines, redaction of secrets.

Imports `relay.deadline`, `relay.failures` and `relay.version`.
"""
