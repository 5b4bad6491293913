"""BigPanda's API: listings of incidents, and write-back of callbacks as comments, within its rate limit."""
