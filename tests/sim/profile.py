"""What kind of trouble a seed brings, drawn by dice: the size, the load, the faults and the traitors."""

import random
from dataclasses import dataclass

ACT_EVERY_MS = (2_000, 10_000)
SIZES = {4: 8, 5: 3, 6: 2, 7: 3, 10: 2, 20: 2}
"""How often a cluster has so many nodes, out of 20."""
CROWD = 10
"""From this size on a cluster has one client, and its messages arrive in coarser steps of time."""

EVERY_TRICK = (
    "two_blocks",
    "vote_for_all",
    "half",
    "mute",
    "choosy",
    "old_views",
    "stale",
    "wrong_root",
    "bad_transaction",
    "forge",
    "lie_on_streams",
    "mix_epochs",
)
"""What a traitor can do; see `traitors`."""


@dataclass(frozen=True)
class Profile:
    """`all_down` crashes any number of nodes, else about f at once. `traitors` of the validators are
    hostile and use `tricks`; they count among the f. `clocks` are stepped and nodes frozen. Members come
    and go where there are `newcomers`, and up to `leavers` go again; `patient` follows them as a light
    client that has only the genesis file."""

    size: int
    all_down: bool
    loss_max: float
    swizzle: bool
    resets: bool
    disk_fails: bool
    clocks: bool = False
    deaf: bool = False
    newcomers: int = 0
    leavers: int = 0
    patient: bool = False
    traitors: int = 0
    tricks: tuple[str, ...] = EVERY_TRICK
    clients: int = 3
    pause_s: float = 0.5
    act_every_ms: tuple[int, int] = ACT_EVERY_MS

    @property
    def tick_ms(self) -> int:
        """What arrivals are rounded up to."""
        return 5 if self.size >= CROWD else 1

    @classmethod
    def of(cls, dice: random.Random, *, size: int | None = None) -> "Profile":
        if size is None:
            size = dice.choices(list(SIZES), list(SIZES.values()))[0]
        faults = (size - 1) // 3
        traitors, tricks = _draw_traitors(dice, faults)
        changes = dice.random() < 0.5
        return cls(
            size=size,
            all_down=dice.random() < 0.4,
            loss_max=dice.choice((0.0, 0.05, 0.2, 0.4)),
            swizzle=dice.random() < 0.5,
            resets=dice.random() < 0.3,
            disk_fails=dice.random() < 0.2,
            clocks=dice.random() < 0.3,
            deaf=dice.random() < 0.1,
            newcomers=dice.randint(1, 3) if changes else 0,
            leavers=dice.randint(0, faults + 1) if changes else 0,
            patient=changes and dice.random() < 0.4,
            traitors=traitors,
            tricks=tricks,
            clients=1 if size >= CROWD else dice.choice((1, 2, 3)),
            pause_s=dice.choice((0.5, 2.0, 5.0)),
        )


def _draw_traitors(dice: random.Random, faults: int) -> tuple[int, tuple[str, ...]]:
    """In three seeds of ten up to f, with any tricks; in one of ten all f, that never vote."""
    share = dice.random()
    if share < 0.3 and faults:
        return dice.randint(1, faults), tuple(dice.sample(EVERY_TRICK, dice.randint(1, len(EVERY_TRICK))))
    if share < 0.4:
        return faults, ("mute",)
    return 0, EVERY_TRICK
