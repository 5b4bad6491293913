"""Incidents: parse and compare BigPanda's shares, and parse xMatters' callbacks. Pure code."""
