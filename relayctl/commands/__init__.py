"""The verbs of relayctl, a module for each noun."""
