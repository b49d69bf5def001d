from typing import Any

from typing_extensions import disjoint_base

from picows_codec.connection.state import ConnectionState

@disjoint_base
class Wire: ...

@disjoint_base
class Witness: ...

@disjoint_base
class Writer(ConnectionState):
    @property
    def is_client_side(self) -> bool: ...
    @property
    def underlying_transport(self) -> Any: ...
    @property
    def write_queue_size(self) -> int: ...
