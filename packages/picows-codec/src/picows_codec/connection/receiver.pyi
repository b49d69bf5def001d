from typing_extensions import disjoint_base

from picows_codec.connection.dispatcher import Dispatcher

@disjoint_base
class Receiver(Dispatcher): ...
