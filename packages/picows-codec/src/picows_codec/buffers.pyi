from typing import final

@final
class ReadBuffer:
    def __new__(cls, size: int) -> ReadBuffer: ...

@final
class WriteBuffer:
    def __new__(cls, capacity: int = 131072) -> WriteBuffer: ...

@final
class ThreadBuffers: ...
