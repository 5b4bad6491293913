"""Rehearsal: the relay decides about a team's own past, from what BigPanda and xMatters still know."""
