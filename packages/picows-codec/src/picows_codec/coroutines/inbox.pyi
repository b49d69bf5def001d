from collections.abc import Callable
from typing import final

from picows_codec.listener import WSMessageListener

@final
class QueueMarks:
    def __init__(
        self,
        max_queue: int | tuple[int | None, int | None] | None = 2048,
        max_queue_bytes: int | tuple[int | None, int | None] | None = 262144,
    ) -> None: ...

@final
class Inbox(WSMessageListener):
    def __init__(
        self, marks: QueueMarks, on_open: Callable[[Inbox], object] | None = None
    ) -> None: ...
