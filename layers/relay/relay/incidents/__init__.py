"""Incidents: parse and compare BigPanda's shares, and parse xMatters' callbacks. Pure code.

Imports only `relay.failures` and `relay.foreign_text`.
"""
