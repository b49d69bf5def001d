from typing import final

@final
class Inflater: ...
