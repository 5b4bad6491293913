"""Benchmarks of the relay, run by `make bench`: cold starts, recovery after outages, and cost."""
