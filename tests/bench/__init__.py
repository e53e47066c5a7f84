"""Speed and memory, as ratios to what this machine's disk, OpenSSL and interpreter allow: `python -m tests.bench`."""
