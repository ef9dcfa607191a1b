"""Methods that two clients share: each operation is described once, and typed for both."""

import functools
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from custody.client.calls import Call, Calls
from custody.client.connections import AsyncConnection, Connection
from custody.wire.resources import Page

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class SyncClient(Protocol):
    connection: Connection


class AsyncClient(Protocol):
    connection: AsyncConnection


class Operation(Generic[Parameters, Result]):
    """A method that returns its result from one client, and an awaitable of it from the other."""

    def __init__(self, describe: Callable[Parameters, Calls[Result]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: SyncClient, owner: Any) -> Callable[Parameters, Result]: ...

    @overload
    def __get__(
        self, client: AsyncClient, owner: Any
    ) -> Callable[Parameters, Coroutine[Any, Any, Result]]: ...

    @overload
    def __get__(self, client: None, owner: Any) -> "Operation[Parameters, Result]": ...

    def __get__(self, client: SyncClient | AsyncClient | None, owner: Any) -> Any:
        if client is None:
            return self

        @functools.wraps(self._describe)
        def method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            return client.connection.run(self._describe(*args, **kwargs))

        return method


class Listing(Generic[Parameters, Result]):
    """A method that iterates over all items, fetching page after page as they are wanted."""

    def __init__(self, describe: Callable[Parameters, Call[Page[Result]]]) -> None:
        self._describe = describe
        self.__doc__ = describe.__doc__

    @overload
    def __get__(self, client: SyncClient, owner: Any) -> Callable[Parameters, Iterator[Result]]: ...

    @overload
    def __get__(
        self, client: AsyncClient, owner: Any
    ) -> Callable[Parameters, AsyncIterator[Result]]: ...

    @overload
    def __get__(self, client: None, owner: Any) -> "Listing[Parameters, Result]": ...

    def __get__(self, client: SyncClient | AsyncClient | None, owner: Any) -> Any:
        if client is None:
            return self

        @functools.wraps(self._describe)
        def method(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            return client.connection.items(self._describe(*args, **kwargs))

        return method
