"""`python -m safeloop` is `safeloop`, but for where Python looks for modules while it starts: prefer `safeloop`."""

import os
import sys
from contextlib import suppress

if __name__ == "__main__":
    # `python -m` looks for modules in the current folder first: no file that lies there may pass for one of ours or of
    # the libraries. What is imported before this line only `safeloop` and `python -P -m safeloop` keep from it.
    with suppress(FileNotFoundError):  # of a folder that is gone; then it is not there either
        if not sys.flags.safe_path and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 - pathlib is looked for there
            del sys.path[0]

    from safeloop.cli.main import main

    main()
