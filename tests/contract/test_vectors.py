"""The project's own vectors: the daemon's code and the second reader give the same verdict on every one."""

import hashlib
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from protocol import merkle
from protocol.blobs import open_verified
from protocol.blocks import (
    Block,
    Certificate,
    Committee,
    Header,
    NetworkId,
    Phase,
    block_hash,
    check_block,
    decode_genesis,
    network_id,
    verify_certificate,
)
from protocol.chain import genesis_header
from protocol.codec import decode
from protocol.codes import decode_code, verify_code
from protocol.errors import Malformed, RemoteProtocolError, UserError
from protocol.finality import check_contents
from protocol.grants import decode_grant_body, grant_id
from protocol.keys import PublicKey
from protocol.limits import MIB, NetworkLimits
from protocol.messages.blob import decode_chunk_frame
from protocol.ownership import Ownership, verify_ownership
from protocol.proofs import verify_state
from protocol.roll import Roll, verify_roll
from protocol.statemap import Proof, verify_proof
from protocol.transactions import Content, GrantId, TokenId, decode_transaction, verify_transaction
from tests.ledger_world import GENESIS
from tests.vectors import (
    independent,
    independent_content,
    independent_proofs,
    independent_state,
    independent_transactions,
)
from tests.vectors.cases import Case, read
from tests.vectors.make import make
from tests.vectors.plain_msgpack import Bad, pack, unpack

Given = dict[str, Any]
CASES = list(read())
LIMIT = 2 * MIB


def need(good: bool) -> None:
    if not good:
        raise Malformed("refused")


def octets(given: Given, name: str) -> bytes:
    return bytes.fromhex(given[name])


# The daemon's verdicts: what an input gives, or Malformed or UserError.


def _transaction(given: Given) -> bytes:
    return verify_transaction(decode_transaction(octets(given, "raw")), octets(given, "network")).id


def _committee(given: Given, epoch: int) -> Committee:
    keys = tuple(PublicKey(bytes.fromhex(key)) for key in given["votes"])
    return Committee(NetworkId(octets(given, "network")), epoch, keys)


def _certificate(given: Given) -> bytes:
    certificate = decode(Certificate, octets(given, "raw"), limit=LIMIT)
    need(verify_certificate(certificate, _committee(given, given["epoch"])))
    return certificate.statement.block


def _block(given: Given) -> bytes:
    block = decode(Block, octets(given, "block"), limit=LIMIT)
    check_block(block)
    committee, header = _committee(given, 0), block.header
    certificate = decode(Certificate, octets(given, "certificate"), limit=LIMIT)
    statement = certificate.statement
    need(statement.phase == Phase.FINALIZE and statement.block == block_hash(header))
    need(verify_certificate(certificate, committee))
    need(header.network == committee.network and header.epoch == committee.epoch)
    found = [verify_transaction(decode_transaction(raw), committee.network) for raw in block.transactions]
    check_contents(block, found)
    return block_hash(header)


def _genesis(given: Given) -> bytes:
    return network_id(decode_genesis(octets(given, "raw")))


def _inclusion(given: Given) -> bytes:
    path = [bytes.fromhex(item) for item in given["path"]]
    leaf, root = octets(given, "leaf"), octets(given, "root")
    need(merkle.verify(leaf, given["index"], given["size"], path, root))
    return b""


def _proof(given: Given) -> bytes:
    proof = decode(Proof, octets(given, "raw"), limit=LIMIT)
    value = None if given["value"] is None else octets(given, "value")
    need(verify_proof(octets(given, "root"), octets(given, "key"), value, proof))
    return b""


def _state_proof(given: Given) -> bytes:
    asked = [(TokenId(bytes.fromhex(one)), GrantId(bytes.fromhex(two))) for one, two in given["asked"]]
    genesis, raw = decode_genesis(octets(given, "genesis")), octets(given, "raw")
    shown = verify_state(raw, genesis, asked, now_ms=given["now_ms"], max_age_ms=given["age_ms"])
    return shown.block


def _header(given: Given) -> Header:
    return replace(genesis_header(GENESIS), state_root=octets(given, "root"))


def _ownership(given: Given) -> bytes:
    shown = decode(Ownership, octets(given, "raw"), limit=LIMIT)
    found = verify_ownership(_header(given), PublicKey(octets(given, "key")), shown)
    return b"" if found is None else found.token + bytes((found.generation, found.is_owner))


def _roll(given: Given) -> bytes:
    roll = decode(Roll, octets(given, "raw"), limit=LIMIT)
    return b"".join(member.id_key for member in verify_roll(_header(given), roll))


def _chunk(given: Given) -> bytes:
    content, frame = (
        decode(Content, octets(given, "content"), limit=LIMIT),
        decode_chunk_frame(octets(given, "raw")),
    )
    return open_verified(content, octets(given, "key"), frame.index, frame.ciphertext, frame.path)


def _grant(given: Given) -> bytes:
    decode_grant_body(octets(given, "raw"), NetworkLimits())
    return grant_id(octets(given, "raw"))


def _code(given: Given) -> bytes:
    return b"".join(item.terms.owner_key for item in verify_code(decode_code(given["text"])))


DAEMON: dict[str, Callable[[Given], bytes]] = {
    "transaction": _transaction,
    "certificate": _certificate,
    "block": _block,
    "genesis": _genesis,
    "inclusion": _inclusion,
    "proof": _proof,
    "state-proof": _state_proof,
    "ownership": _ownership,
    "roll": _roll,
    "chunk": _chunk,
    "grant": _grant,
    "code": _code,
}


# The second reader's.


def _read_certificate(given: Given) -> bytes:
    votes = [bytes.fromhex(key) for key in given["votes"]]
    value = unpack(octets(given, "raw"))
    return independent.certificate(value, octets(given, "network"), given["epoch"], votes)[2]


def _read_block(given: Given) -> bytes:
    votes = [bytes.fromhex(key) for key in given["votes"]]
    final = pack([unpack(octets(given, "block")), [unpack(octets(given, "certificate")), None]])
    return independent_transactions.final_block(final, octets(given, "network"), votes)[1]


def _read_inclusion(given: Given) -> bytes:
    path = [bytes.fromhex(item) for item in given["path"]]
    root = independent.path_root(octets(given, "leaf"), given["index"], given["size"], path)
    independent.need(root == octets(given, "root"), "another root")
    return b""


def _read_proof(given: Given) -> bytes:
    value = None if given["value"] is None else octets(given, "value")
    key, proof = octets(given, "key"), unpack(octets(given, "raw"))
    independent_content.proven(octets(given, "root"), key, value, proof)
    return b""


def _read_state_proof(given: Given) -> bytes:
    asked = [[bytes.fromhex(one), bytes.fromhex(two)] for one, two in given["asked"]]
    raw, genesis = octets(given, "raw"), octets(given, "genesis")
    shown = independent_proofs.verify(raw, genesis, asked, given["now_ms"], given["age_ms"])
    block: bytes = shown[2]
    return block


def _read_chunk(given: Given) -> bytes:
    tag, *frame = unpack(octets(given, "raw"))
    independent.need(tag == 9, "not a chunk")
    content, key = unpack(octets(given, "content")), octets(given, "key")
    return independent_content.open_chunk(content, key, frame)


SECOND: dict[str, Callable[[Given], bytes]] = {
    "transaction": lambda given: independent_transactions.transaction(
        octets(given, "raw"), octets(given, "network")
    )[0],
    "certificate": _read_certificate,
    "block": _read_block,
    "genesis": lambda given: independent.genesis(octets(given, "raw"))[0],
    "inclusion": _read_inclusion,
    "proof": _read_proof,
    "state-proof": _read_state_proof,
    "ownership": lambda given: independent_state.ownership(
        octets(given, "root"), octets(given, "key"), octets(given, "raw")
    ),
    "roll": lambda given: independent_state.roll(octets(given, "root"), octets(given, "raw")),
    "chunk": _read_chunk,
    "grant": lambda given: independent_content.grant_id(octets(given, "raw")),
    "code": lambda given: b"".join(independent_content.receive_code(given["text"])),
}


SECOND_READER = (
    independent,
    independent_content,
    independent_state,
    independent_transactions,
    independent_proofs,
)


def verdict(read_one: Callable[[Given], bytes], given: Given) -> str | None:
    """What an input gives, in hexadecimal; None where it is refused in the reader's own way."""
    try:
        return read_one(given).hex()
    except (RemoteProtocolError, UserError, Bad, independent_proofs.Wrong):
        return None


@pytest.mark.parametrize("kind", DAEMON)
def test_the_daemon_judges_every_vector_as_it_says(kind: str) -> None:
    assert _misjudged(DAEMON[kind], kind) == []


@pytest.mark.parametrize("kind", SECOND)
def test_a_reader_written_from_the_description_judges_the_same(kind: str) -> None:
    assert _misjudged(SECOND[kind], kind) == []


def _misjudged(read_one: Callable[[Given], bytes], kind: str) -> list[str]:
    cases = [case for case in CASES if case.kind == kind]
    assert any(case.wrong for case in cases)
    assert any(not case.wrong for case in cases)
    wanted = {case.name: None if case.wrong else case.gives for case in cases}
    found = {case.name: verdict(read_one, case.given) for case in cases}
    return [f"{name}: {found[name]}, not {wanted[name]}" for name in wanted if found[name] != wanted[name]]


def test_there_are_many_of_every_kind_and_they_are_what_the_script_makes() -> None:
    assert {case.kind for case in CASES} == set(DAEMON) == set(SECOND)
    assert len(CASES) >= 300

    def sums(cases: list[Case]) -> dict[str, str]:
        return {str(case.path): hashlib.sha256(case.text().encode()).hexdigest() for case in cases}

    assert sums(CASES) == sums(make()), "run: uv run python -m tests.vectors.make"


def test_the_second_reader_imports_nothing_of_the_project_and_stays_small() -> None:
    for module in SECOND_READER:
        source = inspect.getsource(module)
        assert len(source.splitlines()) <= 150
        for package in ("protocol", "node", "cli"):
            assert f"from {package}" not in source
            assert f"import {package}" not in source


def test_the_verifier_of_proofs_is_one_file_that_needs_hashes_and_signatures_only() -> None:
    imported = {
        line.split()[1] for line in inspect.getsource(independent_proofs).splitlines() if "import " in line
    }
    assert imported == {"hashlib", "typing", "nacl.bindings"}
