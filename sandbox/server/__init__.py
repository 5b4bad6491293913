"""Both vendors' stand-ins on loopback ports, with a control API: in a thread of a test, or as a process.

`python -m sandbox.server` is the process; `background` starts it, `client` calls its control API. Imports
`sandbox.xmatters`, `sandbox.bigpanda`, `sandbox.http`, and `clock`, `environment`, `errors` and `processes`.
"""
