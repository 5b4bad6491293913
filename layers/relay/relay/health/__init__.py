"""Health of a channel: the limits that make it sick, and the decision when people are told. Pure, except messages."""
