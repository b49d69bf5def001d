"""Strawberry's GraphQL subscriptions over WebSocket."""

# No annotations from __future__: Strawberry reads them at run time.
import asyncio
from typing import AsyncGenerator

import strawberry
from strawberry.asgi import GraphQL

ended = {"count": 0}


@strawberry.type
class Query:
    @strawberry.field
    def hello(self) -> str:
        return "world"

    @strawberry.field
    def ended(self) -> int:
        return ended["count"]


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def count(self, to: int = 3, size: int = 1) -> AsyncGenerator[str, None]:
        for number in range(to):
            yield str(number) * size

    @strawberry.subscription
    async def forever(self) -> AsyncGenerator[int, None]:
        try:
            yield 0
            await asyncio.Event().wait()
        finally:
            ended["count"] += 1

    @strawberry.subscription
    async def fail(self) -> AsyncGenerator[int, None]:
        yield 0
        raise ValueError("broken")


app = GraphQL(strawberry.Schema(query=Query, subscription=Subscription))
