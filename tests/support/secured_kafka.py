"""The product's embedded Kafka with one listener more, as a cluster in the field has it: TLS, and SASL by name and password.

What lives here: that listener. It is put into the properties that `agents.broker` writes; the plain one stays, for a test that looks into
the topics. Certificates are made anew for each run.
"""

import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

import agents.broker
from agents.broker import HOST, EmbeddedBroker, JarsUnavailableError, JavaMissingError, JavaTooOldError, MavenMissingError, pick_free_port
from tests.support.certificates import authority, vouched_for

HEAP_MIB = 384
USER = "curfew"


class SecuredKafka(NamedTuple):
    """One that runs.

    Attributes:
        bootstrap: the secured listener. plain: the other one. cafile: who vouches for it. stranger: an authority that does not.
        log: what it said.
    """

    bootstrap: str
    plain: str
    cafile: Path
    stranger: Path
    log: Path


@contextlib.asynccontextmanager
async def secured_kafka(directory: Path, password: str) -> AsyncIterator[SecuredKafka]:
    """A Kafka that takes `USER` with this password, as long as the block runs; skips the test where there is no embedded one."""
    own, stranger = authority(directory, "authority"), authority(directory, "stranger")
    shown = vouched_for(own, "kafka", f"IP:{HOST}")
    keystore = directory / "kafka.keystore.pem"
    keystore.write_text(_as_pkcs8(shown.key) + shown.certificate.read_text())
    port, broker = pick_free_port(), EmbeddedBroker(directory / "data", pick_free_port(), HEAP_MIB)
    more = (
        f"listeners={{listeners}},SASL_SSL://{HOST}:{port}\n"
        f"advertised.listeners=PLAINTEXT://{broker.bootstrap},SASL_SSL://{HOST}:{port}\n"
        "listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={keystore}\n"
        "sasl.enabled.mechanisms=PLAIN\n"
        "listener.name.sasl_ssl.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required"
        f' user_{USER}="{password}";\n'
    )
    write = agents.broker._write_properties

    def write_secured(*arguments: object) -> Path:
        target: Path = write(*arguments)
        text = target.read_text()
        listeners = [line.partition("=")[2] for line in text.splitlines() if line.startswith("listeners=")][-1]
        target.write_text(text + more.format(listeners=listeners))
        return target

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(agents.broker, "_write_properties", write_secured)
        try:
            await broker.start()
        except (JavaMissingError, JavaTooOldError, MavenMissingError, JarsUnavailableError) as error:
            pytest.skip(f"a Kafka with TLS and SASL needs the embedded one: {error}")
    try:
        yield SecuredKafka(f"{HOST}:{port}", broker.bootstrap, own.certificate, stranger.certificate, broker.data_dir / "server.log")
    finally:
        await broker.stop()


def _as_pkcs8(key: Path) -> str:
    """The key; Kafka takes no other form than this one, which `openssl req` writes."""
    text = key.read_text()
    assert text.startswith("-----BEGIN PRIVATE KEY-----"), ssl.OPENSSL_VERSION
    return text
