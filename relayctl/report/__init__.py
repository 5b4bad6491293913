"""Reports without effects: `relayctl explain` of a share or of routes, and `relayctl shadow report`."""
