"""How fast the relay is, how small, and what it costs; `make bench`."""
