from typing_extensions import disjoint_base

from picows_codec.receiver import Receiver

@disjoint_base
class Liveness(Receiver): ...
