"""Sample data for the picture of the dashboard: twelve hours with an outage of xMatters, made up.

Titles and labels are those of the template's dashboard.
"""

from collections.abc import Mapping, Sequence

HOURS = 12
# Points of a chart: one in a quarter of an hour.
POINTS = 4 * HOURS
# The outage, in points.
_DOWN = range(24, 29)


def _wave(base: float, swing: float, step: int) -> list[float]:
    return [base + swing * ((point * step * 7919 + point * point * 31) % 97) / 97 for point in range(POINTS)]


def _only(values: Mapping[int, float]) -> list[float]:
    return [values.get(point, 0.0) for point in range(POINTS)]


_SHARES = _wave(6, 14, 3)
_RISE = _only({point: 9.0 * (place + 1) for place, point in enumerate(_DOWN)} | {29: 18, 30: 3})

# Values of the charts, by title and label.
LINES: Mapping[str, Mapping[str, Sequence[float]]] = {
    "Shares from BigPanda, in five minutes": {"shares": _SHARES},
    "Answers of the API, in five minutes": {
        "requests": [share + 1 for share in _SHARES],
        "refused (4xx)": _only({9: 1, 37: 2}),
        "failed (5xx)": _only({}),
    },
    "Webhook: time until BigPanda is answered": {
        "median": _wave(180, 40, 5),
        "99 %": [value + (7000 if point in _DOWN else 0) for point, value in enumerate(_wave(420, 160, 11))],
        "longest": [value + (7300 if point in _DOWN else 0) for point, value in enumerate(_wave(600, 300, 13))],
    },
    "Oldest message on each queue": {
        "signals": _only({point: 12.0 + 6 * place for place, point in enumerate(_DOWN)} | {29: 20}),
        "chores": _wave(0, 4, 7),
    },
    "Oldest debt that is overdue": {"overdue since": _only({25: 20, 26: 35, 27: 30, 28: 40, 29: 12})},
    "Signals on the retry queue": {
        "due": _only({24: 2, 26: 3, 28: 4, 29: 9}),
        "waiting for their time": [value + 2 for value in _RISE],
    },
    "Debts in the ledger": {"owed": _RISE},
    "Dead letters": {"dead letters": _only(dict.fromkeys(range(34, 41), 1.0))},
    "Errors of the functions": {
        **dict.fromkeys(("webhook", "callback", "worker", "sweeper"), _only({})),
        "chore worker": _only({27: 1}),
    },
    "Throttled runs of the functions, and the ledger's": dict.fromkeys(
        ("webhook", "callback", "worker", "chore worker", "ledger", "ledger's index"), _only({})
    ),
}
# Values of the areas, an hour each, by title and outcome.
AREAS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "Shares by outcome, in an hour": {
        "delivered": [18, 22, 15, 19, 24, 17, 3, 26, 20, 16, 21, 19],
        "queued": [0, 0, 1, 0, 0, 0, 31, 8, 0, 0, 0, 0],
        "unchanged": [31, 44, 27, 35, 40, 33, 29, 38, 30, 28, 36, 34],
        "duplicate": [4, 2, 5, 3, 6, 2, 4, 3, 5, 2, 3, 4],
        "shadowed": [0] * HOURS,
        "superseded": [0, 0, 0, 0, 0, 0, 2, 5, 0, 0, 0, 0],
        "unsafe": [0] * HOURS,
    },
    "Callbacks of xMatters, in an hour": {
        "queued": [9, 12, 7, 10, 12, 9, 2, 16, 11, 8, 10, 9],
        "unchanged": [3, 4, 2, 5, 3, 4, 1, 6, 3, 2, 4, 3],
        "unsafe": [0] * HOURS,
    },
}
# Rows of the tables, by title; the first row has the names of the columns.
TABLES: Mapping[str, Sequence[Sequence[str]]] = {
    "Why signals wait or failed": (
        ("channel", "reason", "http_status", "times", "last"),
        ("payments", "upstream", "503", "61", "09:12"),
        ("payments", "circuit_open", "", "22", "09:14"),
        ("network", "paced", "", "9", "11:40"),
        ("network", "refused", "404", "1", "10:31"),
    ),
    "Channels that owe signals, and the oldest debt of each": (
        ("channel", "owed", "oldest_seconds", "reason", "last"),
        ("payments", "45", "412", "upstream", "09:13"),
    ),
    "What was written into BigPanda, and what failed": (
        ("channel", "outcome", "reason", "times", "last"),
        ("payments", "delivered", "", "71", "13:58"),
        ("network", "delivered", "", "34", "13:21"),
        ("payments", "queued", "rate_limited", "2", "09:20"),
    ),
}
