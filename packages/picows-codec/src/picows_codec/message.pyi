from typing import final

from typing_extensions import disjoint_base

from picows_codec.transport import WSListener, WSTransport
from picows_codec.view import WSMessage

@final
class Assembly: ...

@disjoint_base
class WSMessageListener(WSListener):
    def on_ws_message(self, transport: WSTransport, message: WSMessage) -> None: ...
