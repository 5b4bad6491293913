"""Benchmarks of the relay, run by `make bench`: warm and cold latency, recovery after outages, and cost."""
