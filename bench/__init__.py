"""Benchmarks of the relay, run by `make bench`: cold starts, reconcile runs, and cost."""
