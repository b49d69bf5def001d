from typing import final

from picows_codec.connection.sender import Compression
from picows_codec.deflate.negotiation import Agreement
from picows_codec.options import WSOptions

__all__ = ["new_compression"]

@final
class DeflateExtension(Compression): ...

def new_compression(agreement: Agreement, options: WSOptions) -> DeflateExtension: ...
