"""Fetching: one tool that reads the web, and reaches nothing that is not public unless it was named."""

from safeloop.tools.fetching.failure import FetchError
from safeloop.tools.fetching.options import FetchOptions
from safeloop.tools.fetching.tool import fetch_tools, what_is_missing

__all__ = ["FetchError", "FetchOptions", "fetch_tools", "what_is_missing"]
