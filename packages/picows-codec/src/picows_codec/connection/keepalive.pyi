from typing import final

@final
class KeepAlive: ...
