"""Sweeper: a function that looks after debts and channels every minute, independently of the queues.

It notifies the fallback topic, replaces messages that vanished, ends long waits, and judges the health of channels.
"""
