"""Delivery: the path of a state to xMatters, from the decision to the page, and what is done while it is owed.

Imports everything but `relay.reconcile` and `relay.entrypoints`.
"""
