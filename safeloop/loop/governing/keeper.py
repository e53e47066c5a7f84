"""Clients that stay governed: also those that the block's code derives from one, with options of its own."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from safeloop.errors import SettingError
from safeloop.loop.governing.asked import ESCAPE
from safeloop.models.address import shown_address

Handle = Callable[[Any, Callable[[Any], Any]], Any]


class Keeper:
    """Puts the limits into a client, innermost, and into whatever is derived from it.

    Args:
        handle: Takes a request and what sends it; asynchronous for an async client.
        endpoint: Where the session asks: its price, and its rows, are of that place.
    """

    def __init__(self, handle: Handle, endpoint: str) -> None:
        self._handle, self._endpoint = handle, endpoint

    def governed(self, client: Any, options: dict[str, Any], without: object = None) -> Any:
        """Return a copy of a client, governed.

        Args:
            client: Of the SDK.
            options: As for the client's own `with_options`.
            without: The limits of the client that it is derived from, which are put in anew.
        """
        made: list[Any] = []
        limits = self._limits(made)
        given = options.get("middleware", client.middleware)
        # Last is innermost: what other middleware makes of a request is what is reserved and sent.
        middleware = [*(each for each in given if each is not without), limits]
        made.append(type(client).copy(client, **{**options, "middleware": middleware}))

        def derive(**more: Any) -> Any:
            if "middleware" in more and not more["middleware"]:
                return type(client).copy(made[0], **more)  # in so many words: no limits
            return self.governed(made[0], more, limits)

        made[0].copy = made[0].with_options = derive
        return made[0]

    def _limits(self, made: list[Any]) -> Handle:
        def limits(request: Any, call_next: Callable[[Any], Any]) -> Any:
            self._check_address(made[0])
            return self._handle(request, call_next)

        async def async_limits(request: Any, call_next: Callable[[Any], Any]) -> Any:
            self._check_address(made[0])
            return await self._handle(request, call_next)

        return async_limits if inspect.iscoroutinefunction(self._handle) else limits

    def _check_address(self, client: Any) -> None:
        now = shown_address(str(client.base_url))
        if now != self._endpoint:
            raise SettingError(
                f"this block asks {self._endpoint}, and the request would go to {now}, at prices of its own",
                hint=f"a govern block of its own for it; or, {ESCAPE}",
            )
