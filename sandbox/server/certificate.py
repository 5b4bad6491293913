"""A certificate for https on loopback: made at start, signed by itself, kept for one run only."""

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

# Clocks of client and server are the same; an hour in the past is for a clock that is set back.
_VALID_BEFORE, _VALID_FOR = timedelta(hours=1), timedelta(days=30)


def https_context(host: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Make a certificate for an IP address; return the server's context, and the certificate as a file.

    A client that trusts the file, with `REQUESTS_CA_BUNDLE` or `NODE_EXTRA_CA_CERTS`, accepts the server. The folder
    holds the private key, so it must be private to the user, and removed after the run.
    """
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - _VALID_BEFORE).not_valid_after(now + _VALID_FOR)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))])
    certificate = builder.add_extension(address, critical=False).sign(key, SHA256()).public_bytes(Encoding.PEM)
    trusted, served = folder / "authority.pem", folder / "server.pem"
    trusted.write_bytes(certificate)
    served.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()) + certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(served)
    return context, trusted
