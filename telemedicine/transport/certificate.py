"""The vehicle's DTLS key and certificate: made once, kept, so that a hospital knows the van by its fingerprint.

The fingerprint stands in the invitation that the vehicle's journal key signs (``telemedicine.invitation``): who carries
the signalling can then not put himself between the two ends (RFC 8827, 6.5.1 leaves this to an identity like ours).
ECDSA on P-256, as WebRTC demands (RFC 8827, 6.5); self-signed, named by nothing but its fingerprint (RFC 8122).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from pathlib import Path

from aiortc import RTCCertificate
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from sync.record.secret_file import KeyMissing, create_secret, read_secret

VALID_FOR = timedelta(days=3650)
"""No browser looks at it: the fingerprint is what counts."""


def kept_certificate(file: Path, now: datetime) -> RTCCertificate:
    """The certificate in ``file`` (PEM, key and certificate), made there when there is none.

    :raises KeyMissing: the file cannot be read or written, or holds something else; says what to do
    """
    if not file.exists():
        try:
            create_secret(file, _pem(*_key_and_certificate(now)))
        except OSError as fault:
            raise KeyMissing(f"{file}: the DTLS key cannot be written ({fault}); make its folder writable") from fault
    text = read_secret(file).encode()
    try:
        key, certificate = load_pem_private_key(text, None), x509.load_pem_x509_certificate(text)
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
            raise ValueError("key and certificate do not belong together")
    except (ValueError, TypeError) as fault:
        raise KeyMissing(f"{file}: no DTLS key ({fault}); move it away and start again, a new one is made") from fault
    return RTCCertificate(key=key, cert=certificate)


def make_certificate(now: datetime) -> RTCCertificate:
    """A new key and its certificate, valid from a day before ``now`` (a van's clock may be slow)."""
    key, certificate = _key_and_certificate(now)
    return RTCCertificate(key=key, cert=certificate)


def _key_and_certificate(now: datetime) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, secrets.token_hex(16))])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + VALID_FOR)
    )
    return key, builder.sign(key, hashes.SHA256())


def fingerprint(certificate: RTCCertificate) -> str:
    """SHA-256 as SDP writes it: "AB:CD:..."."""
    return next(one.value for one in certificate.getFingerprints() if one.algorithm == "sha-256")


def _pem(key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> str:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return (private + certificate.public_bytes(Encoding.PEM)).decode()
