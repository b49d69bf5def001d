from typing import final

from picows_codec.constants import WSAutoPingStrategy

__all__ = ["WSOptions"]

@final
class WSOptions:
    @property
    def disconnect_on_exception(self) -> bool: ...
    @property
    def websocket_handshake_timeout(self) -> float | None: ...
    @property
    def close_timeout(self) -> float | None: ...
    @property
    def stall_timeout(self) -> float | None: ...
    @property
    def data_timeout(self) -> float | None: ...
    @property
    def enable_auto_ping(self) -> bool: ...
    @property
    def auto_ping_idle_timeout(self) -> float: ...
    @property
    def auto_ping_reply_timeout(self) -> float: ...
    @property
    def auto_ping_strategy(self) -> WSAutoPingStrategy: ...
    @property
    def enable_auto_pong(self) -> bool: ...
    @property
    def max_frame_size(self) -> int: ...
    @property
    def max_message_size(self) -> int: ...
    @property
    def max_fragments_per_message(self) -> int: ...
    @property
    def max_handshake_line_size(self) -> int: ...
    @property
    def max_handshake_headers(self) -> int: ...
    @property
    def max_handshake_size(self) -> int: ...
    @property
    def write_high_watermark(self) -> int: ...
    @property
    def write_low_watermark(self) -> int: ...
    @property
    def max_write_queue_size(self) -> int: ...
    @property
    def read_buffer_init_size(self) -> int: ...
    @property
    def coalesce_writes(self) -> bool: ...
    @property
    def busy_poll(self) -> bool: ...
    def __init__(
        self,
        *,
        disconnect_on_exception: bool = True,
        websocket_handshake_timeout: float | None = 5.0,
        close_timeout: float | None = 5.0,
        stall_timeout: float | None = 60.0,
        data_timeout: float | None = None,
        enable_auto_ping: bool = False,
        auto_ping_idle_timeout: float = 10.0,
        auto_ping_reply_timeout: float = 10.0,
        auto_ping_strategy: WSAutoPingStrategy = ...,
        enable_auto_pong: bool = True,
        max_frame_size: int = 16777216,
        max_message_size: int = 16777216,
        max_fragments_per_message: int = 131072,
        max_handshake_line_size: int = 8192,
        max_handshake_headers: int = 128,
        max_handshake_size: int = 65536,
        write_high_watermark: int = 65536,
        write_low_watermark: int | None = None,
        max_write_queue_size: int = 16777216,
        read_buffer_init_size: int = 131072,
        coalesce_writes: bool = True,
        busy_poll: bool = False,
    ) -> None: ...
    @staticmethod
    def names() -> tuple[str, ...]: ...
