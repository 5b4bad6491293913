"""The deployed stack: its outputs and clients, and the verbs doctor, policy, status and uninstall."""
