from typing import final

@final
class Turns: ...
