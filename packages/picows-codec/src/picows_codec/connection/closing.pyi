from typing_extensions import disjoint_base

from picows_codec.connection.receiver import Receiver
from picows_codec.disconnect import WSDisconnectCause
from picows_codec.socket_address import SocketAddress

@disjoint_base
class Closing(Receiver):
    @property
    def is_secure(self) -> bool: ...
    @property
    def remote_address(self) -> SocketAddress: ...
    @property
    def local_address(self) -> SocketAddress: ...
    @property
    def disconnect_cause(self) -> WSDisconnectCause | None: ...
    def drop_deadline(self) -> None: ...
