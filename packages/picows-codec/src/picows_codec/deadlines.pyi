from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import final

from typing_extensions import disjoint_base

from picows_codec.timer_wheel import WheelMember

@disjoint_base
class Deadlined(WheelMember): ...

def time_left(deadline: float, now: float) -> float: ...
def until_second_look(deadline: float, now: float) -> float: ...

@final
class Sweeper:
    def __new__(cls, loop: AbstractEventLoop, clock: Callable[[], float] | None) -> Sweeper: ...
