from typing_extensions import disjoint_base

from picows_codec.connection.sender import Sender

@disjoint_base
class Dispatcher(Sender): ...
