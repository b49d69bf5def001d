"""The coroutine connection: messages are awaited instead of handed to a callback."""
