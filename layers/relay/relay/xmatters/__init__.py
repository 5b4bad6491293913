"""xMatters: the trigger for signals, and the REST API for pages, people and groups."""
