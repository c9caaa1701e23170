"""Certificates of a test's own, made by the program `openssl`: an authority, and who it vouches for.

Keys are made anew for each run and never kept.
"""

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple


class Certificate(NamedTuple):
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path

    def server(self) -> ssl.SSLContext:
        """What a server shows."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.certificate, self.key)
        return context


def authority(directory: Path, name: str) -> Certificate:
    """An authority that vouches for itself."""
    made = Certificate(directory / f"{name}.pem", directory / f"{name}.key")
    _openssl("req", "-x509", *_new(made), "-subj", f"/CN={name}", "-days", "2")
    return made


def vouched_for(by: Certificate, name: str, *alternative_names: str, days: int = 2) -> Certificate:
    """A certificate of an authority.

    Args:
        by: the authority.
        name: its common name, and that of its files.
        alternative_names: as `IP:127.0.0.1`, `DNS:router`; none: it bears its common name alone.
        days: until it expires; -1: it has.
    """
    directory = by.certificate.parent
    made, request = Certificate(directory / f"{name}.pem", directory / f"{name}.key"), directory / f"{name}.csr"
    _openssl("req", "-new", *_new(made, request), "-subj", f"/CN={name}")
    extensions = directory / f"{name}.ext"
    extensions.write_text(f"subjectAltName={','.join(alternative_names)}\n" if alternative_names else "basicConstraints=CA:FALSE\n")
    signing = ("-CA", str(by.certificate), "-CAkey", str(by.key), "-CAcreateserial", "-days", str(days))
    _openssl("x509", "-req", "-in", str(request), *signing, "-extfile", str(extensions), "-out", str(made.certificate))
    return made


def _new(made: Certificate, out: Path | None = None) -> list[str]:
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(made.key)]
    return [*key, "-out", str(out or made.certificate)]


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, f"openssl {arguments[0]}: {done.stderr}"
