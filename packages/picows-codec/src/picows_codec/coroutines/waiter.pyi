from typing import final

@final
class Waiter: ...
