"""`badnet` on a machine whose clock leaps by thirty years at every look, forwards and backwards in turn."""

import datetime
import itertools
import time

LEAPS = itertools.cycle((30.0, -30.0, 0.0))
YEAR = 365.25 * 24 * 3600
honest = time.time


def leaping() -> float:
    return honest() + next(LEAPS) * YEAR


class LeapingDatetime(datetime.datetime):
    """A `datetime` that reads the leaping clock."""

    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> "LeapingDatetime":
        """A time up to thirty years from now."""
        return cls.fromtimestamp(leaping(), tz)


if __name__ == "__main__":
    time.time = leaping
    time.time_ns = lambda: int(leaping() * 1e9)
    datetime.datetime = LeapingDatetime  # type: ignore[misc]
    from harness.cli import main

    main()
