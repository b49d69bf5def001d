"""A value for every option that is not its default."""

from __future__ import annotations

from typing import Any, Dict

from picows_codec import WSPermessageDeflate

__all__ = ["OTHER_OPTIONS"]


def _see_nothing(*_: object) -> None:
    pass


OTHER_OPTIONS: Dict[str, Any] = {
    "disconnect_on_exception": False,
    "websocket_handshake_timeout": 1.5,
    "close_timeout": 2.5,
    "stall_timeout": 2.75,
    "data_timeout": 2.875,
    "enable_auto_ping": True,
    "auto_ping_idle_timeout": 3.5,
    "auto_ping_reply_timeout": 4.5,
    "auto_ping_strategy": 2,
    "enable_auto_pong": False,
    "max_frame_size": 1001,
    "max_message_size": 1002,
    "max_fragments_per_message": 1003,
    "max_handshake_line_size": 1004,
    "max_handshake_headers": 1005,
    "max_handshake_size": 1006,
    "write_high_watermark": 1007,
    "write_low_watermark": 1000,
    "max_write_queue_size": 1008,
    "read_buffer_init_size": 1009,
    "coalesce_writes": False,
    "collect_stats": True,
    "busy_poll": True,
    "compression": WSPermessageDeflate(level=2),
    "tap": _see_nothing,
}
