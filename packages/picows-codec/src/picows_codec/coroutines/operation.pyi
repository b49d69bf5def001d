from collections.abc import Generator
from typing import Any, TypeVar, final

from typing_extensions import Buffer

from picows_codec.coroutines.compiled_coroutine import CompiledCoroutine
from picows_codec.coroutines.inbox import Inbox

_T = TypeVar("_T")

@final
class Operation(CompiledCoroutine[_T]):
    def __await__(self) -> Generator[Any, Any, _T]: ...

def take_turn(inbox: Inbox) -> Operation[None]: ...
def send_fragment(
    inbox: Inbox, opcode: int, data: str | Buffer | None, fin: bool
) -> Operation[None]: ...
def release_turn(inbox: Inbox) -> None: ...
def fail_message(inbox: Inbox, text: str) -> None: ...
