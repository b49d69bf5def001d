from typing import final

@final
class Record: ...
