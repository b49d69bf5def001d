"""The methods of a transport that are awaited, as coroutines over the loop's futures.

They are in Python because to ``inspect``, frameworks and debuggers Cython's coroutines are none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, List, Optional

if TYPE_CHECKING:
    from asyncio import Future

__all__: List[str] = []


async def wait_for(future: Optional[Future[Any]]) -> None:
    """Wait for a future of the loop; None is in the past."""
    if future is not None:
        await future


async def collect_roundtrips(start: Callable[[], Future[float]], rounds: int) -> List[float]:
    """Run the rounds one after another: each future's result is one round trip in seconds."""
    return [await start() for _ in range(rounds)]
