"""HTTP outward: one session to allowed hosts, asked within the time there is, with secrets redacted.

Imports `relay.errors` and `relay.deadline`.
"""
