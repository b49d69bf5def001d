from typing_extensions import disjoint_base

from picows_codec.connection.writer import Writer

@disjoint_base
class Compression: ...

@disjoint_base
class Sender(Writer): ...
