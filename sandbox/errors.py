"""The exception that the sandbox raises if something fails on this machine."""


class SandboxError(Exception):
    """A failure on this machine; the message says what failed, and what to do about it."""
