"""`python -m safeloop` is `safeloop`."""

import sys
from contextlib import suppress
from pathlib import Path

if __name__ == "__main__":
    # `python -m` looks for modules in the current folder first: no file that lies there may pass for one of ours or of
    # the libraries. `safeloop` itself was found already.
    with suppress(FileNotFoundError):  # of a folder that is gone; then it is not there either
        if not sys.flags.safe_path and sys.path[:1] == [str(Path.cwd())]:
            del sys.path[0]

    from safeloop.cli.main import main

    main()
