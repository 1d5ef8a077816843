"""Where the time of a run goes."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """Adds up the seconds spent on each activity.

    On an accelerator work is handed over, and the waiting is charged to whoever needs its result.

    Attributes:
        seconds: by activity.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def __call__(self, what: str) -> Iterator[None]:
        """Add the time spent inside to ``what``, and take it from whatever is being charged around it."""
        start, inner = time.perf_counter(), sum(self.seconds.values())
        try:
            yield
        finally:
            spent = time.perf_counter() - start
            self.seconds[what] += spent - (sum(self.seconds.values()) - inner)
