from typing import Any, final

from picows_codec.connection.handshaking import Handshaking
from picows_codec.connection.writer import Wire, Witness
from picows_codec.tap import WSTap

@final
class CallableTap(WSTap): ...

@final
class GuardedTap(Witness): ...

@final
class TappedWire(Wire): ...

@final
class TappedWrite:
    def __call__(self, data: Any) -> None: ...

def begin_tapping(connection: Handshaking, tap: Any) -> None: ...
