from typing_extensions import disjoint_base

from picows_codec.stream.poller import Member

@disjoint_base
class StreamWire(Member): ...
