from typing import final

@final
class WriteQueue: ...
