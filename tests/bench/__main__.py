"""`python -m tests.bench`; what is spawned imports this file again, and nothing of the bench with it."""

if __name__ == "__main__":
    from tests.bench.running import main

    main()
