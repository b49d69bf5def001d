from asyncio import AbstractEventLoop
from collections.abc import Callable
from typing import final

from typing_extensions import disjoint_base

@disjoint_base
class Deadlined: ...

@final
class Sweeper:
    def __new__(cls, loop: AbstractEventLoop, clock: Callable[[], float] | None) -> Sweeper: ...
