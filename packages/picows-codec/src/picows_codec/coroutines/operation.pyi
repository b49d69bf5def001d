from collections.abc import Coroutine
from types import TracebackType
from typing import Any, TypeVar, final

from typing_extensions import Buffer, Self

from picows_codec.coroutines.inbox import Inbox

T = TypeVar("T")

@final
class Operation(Coroutine[Any, Any, T]):
    def __await__(self) -> Self: ...  # type: ignore[override]
    def __iter__(self) -> Self: ...
    def __next__(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(  # type: ignore[override]
        self,
        kind: type[BaseException] | BaseException,
        value: BaseException | object = None,
        traceback: TracebackType | None = None,
    ) -> Any: ...
    def close(self) -> None: ...

def take_turn(inbox: Inbox) -> Operation[None]: ...
def send_fragment(
    inbox: Inbox, opcode: int, data: str | Buffer | None, fin: bool
) -> Operation[None]: ...
def release_turn(inbox: Inbox) -> None: ...
def fail_message(inbox: Inbox, text: str) -> None: ...
