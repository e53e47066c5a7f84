"""Why a page was not had: one class for each reason, whose name is what the model reads.

The words are safeloop's own and are shown without the label of foreign data, so nothing that a server chose goes
into them: no reason phrase, no path of a redirect, no certificate's name, no library's message.
"""

from __future__ import annotations

from safeloop.tools.clean import ToolError


class FetchError(ToolError):
    """A page was not had."""


class AddressRefused(FetchError):
    """The URL, the name behind it or a redirect leads where no fetch may go."""


class FetchFailed(FetchError):
    """The server could not be reached, did not prove its name, or did not speak HTTP."""


class FetchTimeout(FetchError):
    """It was not done within its time."""


class HttpStatus(FetchError):
    """The server answered with a status that is not a success."""


class NotReadable(FetchError):
    """What the server sent is of a kind that is not read, or could not be read."""


class TooLarge(FetchError):
    """More came than is taken."""
