"""Certificates: verified for the name in the URL, whatever address was connected to."""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from safeloop.errors import SettingError
from safeloop.tools.fetching import FetchOptions
from tests.tools.fetching.conftest import PUBLIC, Names, Wire, body_of, error_of, fetched
from tests.tools.fetching.server import RawServer, answer, dripping, redirects, sends

Serve = Callable[..., RawServer]
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


class Authority:
    """A certificate authority of this test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority")])
        self.certificate = self._signed(self.name, self.key, x509.BasicConstraints(ca=True, path_length=None), NOW + DAY)

    def trusted(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.certificate.public_bytes(serialization.Encoding.PEM).decode())

    def context(self, name: str, until: datetime.datetime = NOW + DAY) -> ssl.SSLContext:
        """What a server of this name shows."""
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            said: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
        except ValueError:
            said = x509.DNSName(name)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._signed(subject, key, x509.SubjectAlternativeName([said]), until)
        path = self.folder / f"{name}.pem"
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            + certificate.public_bytes(serialization.Encoding.PEM)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path)
        return context

    def _signed(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, extension: x509.ExtensionType, until: datetime.datetime
    ) -> x509.Certificate:
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(NOW - 2 * DAY).not_valid_after(until)
            .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )  # fmt: skip
        return builder.sign(self.key, hashes.SHA256())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_name_is_asked_for_and_verified_though_the_address_is_connected_to(
    authority: Authority, wire: Wire, serve: Serve
) -> None:
    server = serve(sends(answer(b"proven")), tls=authority.context("shop.test"))
    wire.routes = {(PUBLIC, 443): server.port}
    options = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted())
    assert body_of(fetched("https://shop.test/", options)) == "proven"
    assert server.server_names == ["shop.test"]
    assert b"\r\nHost: shop.test\r\n" in server.requests[0]
    assert wire.tried == [(PUBLIC, 443)]


@pytest.mark.parametrize(
    ("name", "until", "code"), [("other.test", NOW + DAY, 62), (PUBLIC, NOW + DAY, 62), ("shop.test", NOW - DAY, 10)]
)
def test_a_certificate_for_another_name_or_another_time_is_refused(
    name: str, until: datetime.datetime, code: int, authority: Authority, wire: Wire, serve: Serve
) -> None:
    """One for the address itself proves nothing of the name."""
    server = serve(sends(answer(b"stolen")), tls=authority.context(name, until))
    wire.routes = {(PUBLIC, 443): server.port}
    options = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted())
    assert error_of(fetched("https://shop.test/", options)) == (
        "FetchFailed", f"the certificate of shop.test does not hold for that name: OpenSSL's error {code}",
    )  # fmt: skip
    assert server.requests == []


def test_an_authority_that_the_system_does_not_know_is_refused_and_no_variable_names_another(
    authority: Authority, wire: Wire, serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pem = tmp_path / "authority.pem"
    pem.write_bytes(authority.certificate.public_bytes(serialization.Encoding.PEM))
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    server = serve(sends(answer(b"stolen")), tls=authority.context("shop.test"))
    wire.routes = {(PUBLIC, 443): server.port}
    class_, message = error_of(fetched("https://shop.test/", FetchOptions(resolve=Names(shop_test=[[PUBLIC]]))))
    assert class_ == "FetchFailed"
    assert message.startswith("the certificate of shop.test does not hold")
    assert server.requests == []


def test_a_server_that_does_not_speak_tls_or_hangs_in_the_handshake_is_a_structured_error(
    authority: Authority, wire: Wire
) -> None:
    options = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted(), seconds=0.7)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it listens, and never says a word
        wire.routes = {(PUBLIC, 443): silent.getsockname()[1]}
        started = time.monotonic()
        assert error_of(fetched("https://shop.test/", options))[0] == "FetchTimeout"
        assert time.monotonic() - started < 3
        talker = threading.Thread(target=lambda: _says(silent, b"HTTP/1.1 400 no\r\n\r\n"))
        talker.start()
        assert error_of(fetched("https://shop.test/", options)) == (
            "FetchFailed", "no TLS connection to shop.test came about",
        )  # fmt: skip
        talker.join()


def _says(listener: socket.socket, words: bytes) -> None:
    for _ in range(2):  # the first is the one that was given up
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(words)
            connection.recv(1_000)


def test_time_and_bytes_are_limited_inside_tls_too(authority: Authority, wire: Wire, serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    for pause_s, limit, error in ((0.05, {"seconds": 0.7}, "FetchTimeout"), (0, {"wire_bytes": 100_000}, "TooLarge")):
        server = serve(dripping(head, b"x" * 100, pause_s), tls=authority.context("shop.test"))
        wire.routes = {(PUBLIC, 443): server.port}
        options = replace(FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted()), **limit)
        started = time.monotonic()
        assert error_of(fetched("https://shop.test/", options))[0] == error
        assert time.monotonic() - started < 3


def test_a_redirect_from_https_to_http_is_followed_only_where_it_may(
    authority: Authority, wire: Wire, serve: Serve
) -> None:
    plain = serve(sends(answer(b"plain")))
    safe = serve(redirects("http://shop.test/"), tls=authority.context("shop.test"))
    wire.routes = {(PUBLIC, 443): safe.port, (PUBLIC, 80): plain.port}
    options = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted())
    assert error_of(fetched("https://shop.test/", options)) == (
        "AddressRefused", "shop.test redirects from https to http, which is not followed",
    )  # fmt: skip
    assert plain.connections == 0
    allowed = FetchOptions(resolve=Names(shop_test=[[PUBLIC]]), tls=authority.trusted(), is_downgrade_allowed=True)
    assert body_of(fetched("https://shop.test/", allowed)) == "plain"


def test_a_context_that_does_not_verify_is_no_setting() -> None:
    careless = ssl.create_default_context()
    careless.check_hostname = False
    with pytest.raises(SettingError, match="must verify"):
        FetchOptions(tls=careless)
    careless.verify_mode = ssl.CERT_NONE
    with pytest.raises(SettingError, match="must verify"):
        FetchOptions(tls=careless)
