"""Settings files of channels: plan, apply and export, and the file of `explain --policy`."""
