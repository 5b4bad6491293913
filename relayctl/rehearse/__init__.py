"""What the relay would have done to a team's own past, from what BigPanda and xMatters still know."""
