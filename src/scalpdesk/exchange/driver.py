"""How fast a world's time goes: with the wall clock, a multiple of it, or step by step."""

from dataclasses import dataclass

from scalpdesk.core.clock import Clock

MAX_SLICE_NS = 60 * 1_000_000_000
"""Market time played in one go when there is no limit: the event loop must get its turn."""


@dataclass(slots=True)
class Pace:
    """Turns time of the wall into time of a world.

    Parameters
    ----------
    clock
        The wall.
    world_start_ns, wall_start_ns
        Two instants that belong together, UTC nanoseconds.
    speed
        Seconds of the world in a second; 0 stands still (only steps move it), infinity is as fast as can be.
    """

    clock: Clock
    world_start_ns: int
    wall_start_ns: int
    speed: float = 1.0

    def target_ns(self, world_now_ns: int) -> int:
        """Return up to when the world may be played now."""
        if self.speed == 0.0:
            return world_now_ns
        if self.speed == float("inf"):
            return world_now_ns + MAX_SLICE_NS
        gone_ns = self.clock.now_ns() - self.wall_start_ns
        return self.world_start_ns + int(gone_ns * self.speed)

    def wait_seconds(self, next_ns: int, world_now_ns: int) -> float:
        """Return how long to wait for the next event, in seconds of the wall."""
        if self.speed in (0.0, float("inf")):
            return 0.0 if self.speed else 3_600.0
        return max(next_ns - self.target_ns(world_now_ns), 0) / self.speed / 1e9

    def change(self, speed: float, world_now_ns: int) -> None:
        """Go on from here at another speed."""
        self.world_start_ns, self.wall_start_ns = world_now_ns, self.clock.now_ns()
        self.speed = speed
