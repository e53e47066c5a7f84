"""Signing with a key that the reviewer already has: in-process for plain Ed25519 files, else through `ssh-keygen`.

Both ways give the same bytes (SHA-512, LF line ends). `ssh-keygen` asks for a passphrase, or for a touch of a
hardware key, at the terminal itself; given the `.pub` file of a key it asks ssh-agent, and then looks for the private
file beside it. `require_signer` looks at all that can be seen before: nobody reads a frame to the end and then learns
that their agent is not there.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from safeloop.errors import EncodingError, KeyUnusable
from safeloop.ledger import sshsig
from safeloop.ledger.keys import read_reviewer_key, read_reviewer_public
from safeloop.ledger.regular import read_regular
from safeloop.ledger.sshsig import HARDWARE, PublicKey

_PUBLIC = ".pub"
_MOST_BYTES = 100_000
_PATIENCE_S = 10.0  # of a look at the agent; for a signature its owner may be asked, and that takes as long as it takes


def require_signer(key: Path) -> PublicKey:
    """Return the public half of a key that `sign_as` can be given, without asking for a passphrase or a touch.

    Args:
        key: As for `sign_as`.

    Raises:
        KeyUnusable: There is no such key, others can read it, its type is not accepted, or it is a `.pub` file and
            neither an agent nor a file beside it has the private half.
    """
    public = _public_of(key)
    if key.suffix == _PUBLIC and not key.with_suffix("").is_file():
        _require_agent(public, key)
    return public


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
    if key.suffix == _PUBLIC:
        require_signer(key)  # ssh-keygen would wait for a pipe, there or beside it
    elif (private := read_reviewer_key(key)) is not None:
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
            done = subprocess.run(  # noqa: S603 - fixed program, no shell
                command, check=False, stdout=subprocess.DEVNULL
            )
        except FileNotFoundError:
            raise KeyUnusable(
                f"{key} is not a plain Ed25519 file, and there is no ssh-keygen here to sign with it",
                hint="apt-get install openssh-client, or sign elsewhere: with --export DIR",
            ) from None
        signature = message.with_name("statement.json.sig")
        if done.returncode != 0 or not signature.exists():
            raise _failure(key, done.returncode)
        return as_armor(signature.read_bytes())


def _failure(key: Path, code: int) -> KeyUnusable:
    """Say why a key that was there did not sign, as far as that can be seen."""
    try:
        public = require_signer(key)
    except KeyUnusable as gone:
        return gone
    if key.suffix == _PUBLIC and not key.with_suffix("").is_file():
        return KeyUnusable(
            f"the ssh-agent holds {public.fingerprint} and did not sign with it",
            hint="say yes when it asks (ssh-add -c), unlock it (ssh-add -X), or touch the key",
        )
    if public.type == HARDWARE:
        return KeyUnusable(
            f"ssh-keygen could not sign with the hardware key of {key} (exit {code})",
            hint="plug it in, touch it when it blinks, give its PIN if it asks; or sign elsewhere: with --export DIR",
        )
    return KeyUnusable(
        f"ssh-keygen could not sign with {key} (exit {code})",
        hint="is the passphrase right? ssh-keygen -y -f KEY tells; or ssh-add KEY, and give its .pub",
    )


def _public_of(key: Path) -> PublicKey:
    try:
        if key.suffix == _PUBLIC:
            return _read_public(key)
        try:
            return read_reviewer_public(key)
        except EncodingError:
            beside = key.with_name(f"{key.name}{_PUBLIC}")
            if not beside.exists():
                raise
            return _read_public(beside)  # a form that only ssh-keygen reads, such as PEM; its signature is judged
    except EncodingError as error:
        raise KeyUnusable(f"{key} is not an SSH key: {error}", hint=f"ssh-keygen -l -f {key}") from None


def _read_public(file: Path) -> PublicKey:
    try:
        data, _ = read_regular(file, _MOST_BYTES)
    except FileNotFoundError:
        raise KeyUnusable(f"there is no key at {file}", hint="ssh-add -L lists the keys of an agent") from None
    except OSError as error:
        raise KeyUnusable(f"key {file} cannot be read: {error.strerror}", hint=f"ls -l {file}") from None
    return sshsig.parse_public_key(data.decode("utf-8", "replace"))


def _require_agent(public: PublicKey, key: Path) -> None:
    """Refuse a key that no agent holds.

    Raises:
        KeyUnusable: There is no agent, or it does not list the key.
    """
    try:
        done = subprocess.run(
            ["ssh-add", "-L"],  # noqa: S607 - the person's own, as ssh-keygen above
            check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=_PATIENCE_S,
        )
    except FileNotFoundError:
        raise KeyUnusable(f"{key} is a public key, and there is no ssh-add here to ask an agent with",
                          hint="apt-get install openssh-client, or sign elsewhere: with --export DIR") from None
    except subprocess.TimeoutExpired:
        raise KeyUnusable(f"the ssh-agent has not answered for {_PATIENCE_S:g} s", hint="ssh-add -l") from None
    if done.returncode == 2:  # ssh-add(1): it could not contact the agent
        raise KeyUnusable(f"{key} is a public key, and no ssh-agent answers that could hold the private one",
                          hint=f"eval $(ssh-agent), then ssh-add {key.with_suffix('')}")
    lines = done.stdout.decode("utf-8", "replace").split("\n")
    if not any(f"{line} ".startswith(f"{public.openssh} ") for line in lines):
        raise KeyUnusable(f"the ssh-agent does not hold {public.fingerprint}, the key of {key}",
                          hint=f"ssh-add {key.with_suffix('')}; ssh-add -l lists what it holds")


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
