"""A second verifier, written from the page `format` alone by someone who had not seen the code.

It imports nothing of the project: the standard library, and `cryptography` for Ed25519.
`python -m tests.verifier LEDGER.db --trust DIR [--state FILE] [--checkpoint FILE]...`
"""
