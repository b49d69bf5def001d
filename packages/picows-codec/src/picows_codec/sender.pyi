from typing_extensions import disjoint_base

from picows_codec.core import Core

@disjoint_base
class Wire: ...

@disjoint_base
class Sender(Core): ...
