"""A silent standard output, to which the library writes its metrics."""

import contextlib
import io


class _Nowhere(io.TextIOBase):
    """Output stream that discards log lines and metrics."""

    def write(self, text: str) -> int:
        return len(text)


def silence() -> contextlib.AbstractContextManager[object]:
    """Discard standard output, to which metrics are written, for a `with` block."""
    return contextlib.redirect_stdout(_Nowhere())
