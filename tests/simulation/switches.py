"""Features and invariants of the simulated world that are off until the library can live with them."""

# Messages of the retry queue vanish in some stories. On once a debt has a row besides its message.
VANISHES = True
# AWS stops a chain of messages from a worker to its own queue. Off because `RecursiveLoop` is `Allow`.
CUTS_CHAINS = False
# An expired debt is dead-lettered within two minutes. On once the sweeper looks for it.
EXPIRES_IN_TIME = False
# The fallback topic knows of an owed critical in time. On once the sweeper notifies it.
NOTIFIES_IN_TIME = True
# A share that meets a live lease sleeps until the lease would end, though its holder may be done in a moment. Off once
# the share is sent when its incident is free.
SLEEPS_OUT_LEASES = True
