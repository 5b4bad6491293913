"""Features of the simulated world that are off until the library can live with them."""

# Messages of the retry queue vanish in some stories. On once a debt has a row besides its message.
VANISHES = False
# AWS stops a chain of messages from a worker to its own queue. Off because `RecursiveLoop` is `Allow`.
CUTS_CHAINS = False
