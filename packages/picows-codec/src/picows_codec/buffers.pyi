from typing import final

@final
class ReadBuffer:
    def __new__(cls, size: int) -> ReadBuffer: ...

@final
class WriteBuffer: ...

@final
class ThreadBuffers: ...
