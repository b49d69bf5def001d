from typing import final

@final
class DataWatch: ...

@final
class StallWatch: ...
