from typing import Any, ClassVar

from typing_extensions import disjoint_base

from picows_codec.listener import WSMessageListener
from picows_codec.transport import WSTransport

@disjoint_base
class WSBatchListener(WSMessageListener):
    decode_text: ClassVar[bool]
    def on_ws_batch(self, transport: WSTransport, messages: list[Any]) -> None: ...
