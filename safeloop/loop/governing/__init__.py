"""Any client's own code inside a session's limits: the SDK's middleware, and the block that puts it in place."""

from safeloop.loop.governing.block import govern

__all__ = ["govern"]
