from typing import final

@final
class Inflater: ...

@final
class Output: ...
