"""The exception of everything local that can fail."""


class SandboxError(Exception):
    """A failure on this machine; the message says what failed, and what to do about it."""
