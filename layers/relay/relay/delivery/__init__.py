"""Delivery: decide if an incident's state is signalled, send the signal, retry it, and follow up on its page."""
