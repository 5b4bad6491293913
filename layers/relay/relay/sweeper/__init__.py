"""Sweeper: the function of each minute that looks after debts and channels, independently of the queues."""
