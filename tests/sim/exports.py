"""A patient's export from the simulated world, taken apart and put together again by tests."""

from dataclasses import dataclass
from typing import TypeVar

import pytest
import trio
from msgspec.structs import replace

from protocol.blocks import Genesis, network_id
from protocol.codec import Wire, encode
from protocol.control import MyExport, MyExportResult, MyStop
from protocol.errors import UserError
from protocol.export import (
    LENGTH_BYTES,
    MAGIC,
    ExportEnd,
    ExportWriter,
    decode_section,
    sign_export,
)
from protocol.exported import ExportVerifier, ShownExport
from protocol.keys import SigningKey
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, get, play, receive_code, share

S = TypeVar("S", bound=Wire)
LETTER = b"%PDF-1.7 a letter"


@dataclass
class Export:
    """A file as it came, and the result that followed."""

    raw: bytes
    result: MyExportResult


async def export(someone: Someone, *records: str) -> Export:
    parts: list[bytes] = []

    async def write(piece: bytes) -> None:
        parts.append(piece)

    result = await someone.patient.exporter.export(MyExport(records=records), write)
    return Export(b"".join(parts), result)


def sections(raw: bytes) -> list[bytes]:
    """The encoded sections of a file."""
    assert raw.startswith(MAGIC)
    at, found = len(MAGIC), list[bytes]()
    while at < len(raw):
        length = int.from_bytes(raw[at : at + LENGTH_BYTES], "big")
        found.append(raw[at + LENGTH_BYTES : at + LENGTH_BYTES + length])
        at += LENGTH_BYTES + length
    return found


def verified(found: list[bytes], genesis: Genesis, now_ms: int) -> ShownExport:
    verifier = ExportVerifier(genesis, now_ms)
    for section in found:
        verifier.take(section)
    return verifier.finish()


@dataclass
class Taken:
    """An export that was made, and what it takes to verify it."""

    sections: list[bytes]
    genesis: Genesis
    now_ms: int
    owners: list[SigningKey]

    def signed_again(self, found: list[bytes]) -> list[bytes]:
        """The sections with an end that their owner signs: whatever she says in them."""
        said = [one for one in found if not isinstance(decode_section(one), ExportEnd)]
        writer = ExportWriter()
        for section in said:
            writer.count(section)
        signatures = (sign_export(writer.hash, key, network_id(self.genesis)) for key in self.owners)
        return [*said, encode(ExportEnd(tuple(signatures)))]


def taken(someone: Someone, raw: bytes, now_ms: int) -> Taken:
    owners = [someone.wallet.owner_key(record) for record in someone.wallet.records()]
    return Taken(sections(raw), someone.patient.genesis, now_ms, owners)


@dataclass
class Proven:
    """An export, and what is true of it."""

    file: Taken
    bundle: str
    letter: str
    grant: str


def two_records() -> Proven:
    """Two records of one clinic: a bundle that another clinic was let read and has read, and a letter of
    which the share was stopped."""
    made: list[Proven] = []

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader = cluster.nodes[0], cluster.nodes[1]
        bundle = (await add(issuer, await receive_code(someone, issuer), RECORD)).token
        letter = (await add(issuer, await receive_code(someone, issuer), LETTER, name="letter.pdf")).token
        await trio.sleep(5)
        grant = await share(someone, bundle, reader)
        await someone.my.stop(MyStop(id=await share(someone, letter, reader)))
        assert (await get(reader, bundle))[1] == RECORD
        file = await export(someone)
        assert (file.result.records, file.result.left_out, file.result.unreached) == (2, (), ())
        assert file.result.bytes == len(file.raw)
        made.append(Proven(taken(someone, file.raw, issuer.clock.wall_ms()), bundle, letter, grant))

    play(story)
    return made[0]


def refused(found: list[bytes], one: Taken, now_ms: int | None = None) -> UserError:
    with pytest.raises(UserError) as caught:
        verified(found, one.genesis, one.now_ms if now_ms is None else now_ms)
    return caught.value


def places(found: list[bytes], kind: type[Wire]) -> list[int]:
    """Where the sections of a kind are."""
    return [at for at, raw in enumerate(found) if isinstance(decode_section(raw), kind)]


def changed(found: list[bytes], kind: type[Wire], which: int, **fields: object) -> list[bytes]:
    """A file with some fields of one section other than they were."""
    at = places(found, kind)[which]
    section = replace(decode_section(found[at]), **fields)
    return [*found[:at], encode(section), *found[at + 1 :]]


def section_of(found: list[bytes], kind: type[S], which: int) -> S:
    section = decode_section(found[places(found, kind)[which]])
    assert isinstance(section, kind)
    return section
