"""When a failed connector is restarted: at once, then after pauses that double, and not for ever."""

from __future__ import annotations

from connectors.rest import Connect
from contracts.errors import HeadraceError
from contracts.settings import GuardSettings

LONGEST_WAIT_S = 600.0
RECOVERED_S = 600.0


class Restarts:
    """Of one connector, in one process. Times are of one monotonic clock."""

    def __init__(self, settings: GuardSettings, *, allowed: bool) -> None:
        self.in_a_row = 0
        self._settings = settings
        self._allowed = allowed
        self._not_before = float("-inf")

    @property
    def over(self) -> bool:
        """Whether none is left to try."""
        return not self._allowed or self.in_a_row >= self._settings.restarts

    def runs_for(self, seconds: float) -> None:
        """The connector has run for so long: after some minutes what was before counts no more."""
        if seconds >= RECOVERED_S:
            self.in_a_row = 0

    def are_due(self, now: float) -> bool:
        """Whether a connector that failed may be restarted now."""
        return not self.over and now >= self._not_before

    def do(self, connect: Connect, connector: str, now: float) -> bool:
        """Restart what failed of it; False if Connect did not: that is told as soon as the next look finds it so."""
        self.in_a_row += 1
        wait_s = self._settings.restart_after_s * 2.0 ** min(self.in_a_row - 1, 30)
        self._not_before = now + min(wait_s, LONGEST_WAIT_S)
        try:
            connect.restart(connector)
        except HeadraceError:
            return False
        return True
