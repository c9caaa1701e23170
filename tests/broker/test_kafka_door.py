"""Kafka with TLS and SASL: it has to prove itself, and a wrong password is not shown (docs/security.md)."""

import asyncio

import pytest
from aiokafka.admin import AIOKafkaAdminClient

from tests.support.curfew import Curfew
from tests.support.secured_kafka import USER, secured_kafka

PASSWORD = "Mark-kafka-3c9f"
WRONG = "Mark-wrong-3c9f"


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """One Kafka with TLS and SASL for this file, on a loop that no test sees."""
    loop, running = asyncio.new_event_loop(), secured_kafka(tmp_path_factory.mktemp("secured"), PASSWORD)
    try:
        yield loop.run_until_complete(running.__aenter__())
        loop.run_until_complete(running.__aexit__(None, None, None))
    finally:
        loop.close()


SAYS = {
    "password": "refused our credentials ([Error 58] SaslAuthenticationFailed: ",
    "authority": "does not prove itself ([SSL: CERTIFICATE_VERIFY_FAILED] ",
    "name": "does not prove itself ([SSL: CERTIFICATE_VERIFY_FAILED] ",
}


@pytest.mark.parametrize("case", SAYS)
async def test_a_kafka_that_does_not_prove_itself_or_does_not_take_our_password_gets_nothing(secured, tmp_path, prefix, case):
    """7.1, docs/security.md: one sentence, exit status 1, and the password stays where it is."""
    bootstrap = secured.bootstrap.replace("127.0.0.1", "localhost") if case == "name" else secured.bootstrap
    cafile = secured.stranger if case == "authority" else secured.cafile
    password = WRONG if case == "password" else PASSWORD
    (tmp_path / "curfew.toml").write_text(
        f'[kafka]\nbootstrap_servers = "{bootstrap}"\ntopic_prefix = "{prefix}"\nsecurity_protocol = "SASL_SSL"\nsasl_username = "{USER}"\n'
        f'sasl_password = "{password}"\nssl_cafile = "{cafile}"\n'
    )
    done = await Curfew(tmp_path / "curfew.toml")("topics", "create")
    assert (done.status, done.out) == (1, "")
    assert f"Kafka at {bootstrap} {SAYS[case]}" in done.err
    assert not any(mark in done.err for mark in (PASSWORD, WRONG))
    admin = AIOKafkaAdminClient(bootstrap_servers=secured.plain)
    await admin.start()
    try:
        assert not [name for name in await admin.list_topics() if name.startswith(prefix)]
    finally:
        await admin.close()
