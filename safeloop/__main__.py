"""`python -m safeloop` is `safeloop`."""

from safeloop.cli.main import main

if __name__ == "__main__":
    main()
