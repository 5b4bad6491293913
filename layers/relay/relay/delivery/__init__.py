"""Delivery: decide if a state is signalled, send the signal, retry it, and follow up on its page."""
