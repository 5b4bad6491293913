"""Both ends on this machine: the local cloud that the relay is deployed into; xMatters and BigPanda as stand-ins."""
