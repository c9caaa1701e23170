"""TLS for RADIUS (RFC 6614): what we show, whom we believe, TLS 1.2 at least, and certificates on both sides always.

What lives here: contexts made of files. What may not: connections, and which NAS a name belongs to (`streams.radsec`).
"""

from __future__ import annotations

import ssl

from schemas.errors import CurfewError

ALPN = "radius/1.0"
"""RFC 9765: historic RADIUS, which is all that is spoken here; a NAS that can do both then knows which."""


class TlsFilesError(CurfewError):
    """A certificate, its key, or the authorities cannot be used; the text names the file."""


def server_context(certfile: str | None, keyfile: str | None, cafile: str | None) -> ssl.SSLContext:
    """For NASes that come to us.

    Raises:
        TlsFilesError: a file cannot be used.
    """
    context = _context(ssl.PROTOCOL_TLS_SERVER, certfile, keyfile, cafile)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols([ALPN])
    # A resumed session would be believed without a look at its certificate, which may have expired since.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def client_context(certfile: str | None, keyfile: str | None, cafile: str | None) -> ssl.SSLContext:
    """For NASes that we call; whose name has to fit is said with each connection.

    Raises:
        TlsFilesError: a file cannot be used.
    """
    return _context(ssl.PROTOCOL_TLS_CLIENT, certfile, keyfile, cafile)


def _context(protocol: int, certfile: str | None, keyfile: str | None, cafile: str | None) -> ssl.SSLContext:
    if certfile is None or keyfile is None or cafile is None:
        raise TlsFilesError("RADIUS over TLS wants `certfile`, `keyfile` and `cafile` in [tls].")
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a NAS's own certificate may stand among the authorities
    try:
        context.load_cert_chain(certfile, keyfile, password="")  # one that wants a password fails, and does not ask the terminal
    except OSError as unusable:  # an SSLError is an OSError
        remedy = "Name PEM files that this user may read, and a key without a password that belongs to the certificate."
        raise TlsFilesError(
            f"The certificate {certfile} with the key {keyfile} cannot be used: {reason_of(unusable)}. {remedy}"
        ) from unusable
    try:
        context.load_verify_locations(cafile)
    except OSError as unusable:
        remedy = "Name a PEM file with certificates that this user may read."
        raise TlsFilesError(f"The authorities in {cafile} cannot be used: {reason_of(unusable)}. {remedy}") from unusable
    return context


def reason_of(failed: Exception) -> str:
    """OpenSSL's or the system's word for what went wrong."""
    return str(getattr(failed, "reason", None) or getattr(failed, "strerror", None) or failed)
