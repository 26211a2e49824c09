"""How much more is asked for than was usual: a storm of retries is no proof against a release.

When something else stumbles, clients ask again and again, more requests fail than usual, and a few
seconds later it is over. What tells that from a release that does harm is the load: it is beyond
all that there was.
"""

from __future__ import annotations

import math
from collections import deque

from bgproxy.domain.baseline import BUCKET_SECONDS

_SECONDS = 3
_MOSTLY_FAILING = 0.5


class Load:
    """The load of a release, a second at a time.

    A load that has lasted for ten to twenty seconds is usual while it goes on, as storms do not
    last; and where most requests fail, the load may well be theirs who ask again because of that.

    Args:
        usual: requests a second, see `Baseline.load`; 0 if that is not known.
    """

    __slots__ = ("_bucket", "_number", "_recent", "_settled", "_settling", "_usual")

    def __init__(self, usual: float) -> None:
        self._usual = usual
        self._recent: deque[tuple[int, int]] = deque(maxlen=_SECONDS)
        self._number = 0
        self._bucket = self._settling = self._settled = 0

    def observe(self, elapsed: float, successes: int, failures: int) -> float:
        """Take one second in.

        Returns:
            The surge: how many times the usual load there is within these seconds; at least 1.
        """
        if not self._usual:
            return 1.0
        number = int(elapsed // BUCKET_SECONDS)
        if number != self._number:
            self._settled, self._settling = self._settling, self._bucket
            self._bucket, self._number = 0, number
        self._bucket += successes + failures
        self._recent.append((successes, failures))
        failed = sum(second[1] for second in self._recent)
        requests = failed + sum(second[0] for second in self._recent)
        if failed >= _MOSTLY_FAILING * requests:
            return 1.0
        usual = max(self._usual, self._settled / BUCKET_SECONDS)
        # What so few seconds bring varies by chance; two standard deviations are no surge.
        seconds = len(self._recent)
        return max(1.0, requests / seconds / (usual + 2 * math.sqrt(usual / seconds)))
