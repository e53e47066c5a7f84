"""Signing with a key that the reviewer already has: in-process for plain Ed25519 files, else through `ssh-keygen`.

Both ways give the same bytes (SHA-512, LF line ends). `ssh-keygen` asks for a passphrase, or for a touch of a
hardware key, at the terminal itself; given the `.pub` file of a key it asks ssh-agent.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import sshsig
from safeloop.ledger.keys import read_reviewer_key


def sign_as(namespace: str, statement: bytes, key: Path) -> str:
    """Return the armored SSHSIG of a statement.

    Args:
        namespace: What it is signed for.
        statement: The exact bytes.
        key: A private key file, a hardware key's handle, or the `.pub` file of a key that an agent holds.

    Raises:
        KeyUnusable: There is no such key, others can read it, or it could not sign.
    """
    # A public key may be read by all; everything else is looked at where private keys are looked at.
    private = None if key.suffix == ".pub" else read_reviewer_key(key)
    if private is not None:
        return sshsig.sign(private, namespace, statement)
    return _by_ssh_keygen(namespace, statement, key)


def _by_ssh_keygen(namespace: str, statement: bytes, key: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="safeloop-sign-") as folder:
        # From a file, not through a pipe: with its standard input taken, ssh-keygen could not ask for a passphrase.
        message = Path(folder, "statement.json")
        message.write_bytes(statement)
        command = ["ssh-keygen", "-q", "-Y", "sign", "-f", str(key), "-n", namespace, str(message)]
        try:
            # Its prompts and complaints go straight to the person who holds the key.
            done = subprocess.run(command, check=False, stdout=subprocess.DEVNULL)  # noqa: S603 (fixed program, no shell)
        except FileNotFoundError:
            raise KeyUnusable(
                f"{key} is not a plain Ed25519 file, and there is no ssh-keygen here to sign with it",
                hint="apt-get install openssh-client, or sign elsewhere: with --export DIR",
            ) from None
        signature = message.with_name("statement.json.sig")
        if done.returncode != 0 or not signature.exists():
            raise KeyUnusable(
                f"ssh-keygen could not sign with {key} (exit {done.returncode})",
                hint="is it an SSH key, is the passphrase right, does ssh-add -l list it?",
            )
        return as_armor(signature.read_bytes())


def as_armor(data: bytes) -> str:
    """Read a signature file into the one form that rows hold.

    Raises:
        EncodingError: Not an armored SSH signature; CR LF line ends are one way of not being one.
    """
    try:
        text = data.decode("ascii")
    except UnicodeDecodeError:
        raise EncodingError("not an armored SSH signature: not ASCII") from None
    return sshsig.render_armor(sshsig.parse_armor(text))
