from typing import SupportsIndex, final

from typing_extensions import Buffer

from picows_codec.constants import WSMsgType

@final
class WSFrameParser:
    @property
    def finished(self) -> bool: ...
    def __new__(
        cls,
        *,
        is_server: bool,
        max_frame_size: SupportsIndex = 0,
        max_message_size: SupportsIndex = 0,
        max_fragments: SupportsIndex = 0,
    ) -> WSFrameParser: ...
    def feed(self, data: Buffer) -> list[tuple[WSMsgType, bool, bytes]]: ...
