"""Incidents: what BigPanda and xMatters say of an incident, read and compared. Pure code.

Imports only `relay.errors`.
"""
