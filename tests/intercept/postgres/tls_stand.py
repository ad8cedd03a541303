"""Certificates made for one run, and a PostgreSQL of the system's that speaks TLS with them."""

import datetime as dt
import functools
import ipaddress
import os
import shutil
import tempfile
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from examples.postgres_local import LocalPostgres

_Pair = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def system_binaries() -> Path | None:
    """Return the folder of a PostgreSQL that was built with TLS, the newest; None without one."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    on_path = shutil.which("postgres")
    found += [Path(on_path).parent] if on_path else []
    return next((folder for folder in found if (folder / "initdb").exists()), None)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate(name: str, issuer: _Pair | None, alternative: x509.GeneralName | None) -> _Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    now = dt.datetime.now(tz=dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(issuer[0].subject if issuer else _name(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if alternative is not None:
        names = x509.SubjectAlternativeName([alternative])
        made = made.add_extension(names, critical=False)
    return made.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def _written(folder: Path, name: str, pair: _Pair) -> None:
    certificate, key = pair
    (folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    file = folder / f"{name}.key"
    file.touch(0o600)
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )


class Certificates:
    """`ca` vouches for `here` (127.0.0.1) and `elsewhere` (db.example); nobody for `stranger`."""

    def __init__(self) -> None:
        self._kept = tempfile.TemporaryDirectory(prefix="certificates-")
        self.folder = Path(self._kept.name)
        ca = _certificate("an authority", None, None)
        here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        stranger = _certificate("another authority", None, None)
        _written(self.folder, "ca", ca)
        _written(self.folder, "stranger", stranger)
        _written(self.folder, "here", _certificate("here", ca, here))
        _written(self.folder, "elsewhere", _certificate("there", ca, x509.DNSName("db.example")))

    def file(self, name: str) -> Path:
        return self.folder / name


@functools.cache
def certificates() -> Certificates:
    return Certificates()


class SystemPostgres(LocalPostgres):
    """The system's PostgreSQL with TLS, and nothing but TLS for the role of the sidecar."""

    def __init__(self, *settings: str) -> None:
        super().__init__("ssl=on", "ssl_cert_file=server.crt", "ssl_key_file=server.key", *settings)
        self._binaries = system_binaries()

    def _initialise(self) -> None:
        super()._initialise()
        data = self._folder / "data"
        for kind in ("crt", "key"):
            file = data / f"server.{kind}"
            shutil.copy(certificates().file(f"here.{kind}"), file)
            file.chmod(0o600)
            os.chown(file, self._user or -1, -1)
        rules = data / "pg_hba.conf"
        only_tls = "hostnossl all erp all reject\n"
        rules.write_text(only_tls + rules.read_text())
