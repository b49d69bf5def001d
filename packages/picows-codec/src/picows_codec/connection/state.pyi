from typing_extensions import disjoint_base

from picows_codec.deadlines import Deadlined
from picows_codec.disconnect import WSCloseHandshake, WSState

TRANSITIONS: dict[str, dict[str, str]]

def allows(state: str) -> tuple[WSState, bool, bool, bool]: ...
def state_of(connection: ConnectionState) -> str | None: ...

@disjoint_base
class ConnectionState(Deadlined):
    @property
    def state(self) -> WSState: ...
    @property
    def is_close_frame_sent(self) -> bool: ...
    @property
    def close_handshake(self) -> WSCloseHandshake | None: ...
