"""Benchmarks of the relay: latency, size and cost; run by make bench.

| question | modules |
| --- | --- |
| latency of warm functions, over loopback | `warm`, `throughput` (worker), `answers`, `reconcile_run`, `parsing` |
| cold start, size and memory of the built artefact | `cold`, `artefact` |
| behaviour in simulated time | `drain`, `outage`, `fallback`, `replay`, `reconcile` |
| cost | `cost`, `month`, `stranger`; counted by `traffic` and `capacity`, at the list prices in `prices` |
| the sandbox and its page | `sandbox` |
| set-up of a measurement | `workplace`, `functions`, `edges`, `bodies`, `rounds`, `machine` |
| results | `figures`, `tables` |
"""
