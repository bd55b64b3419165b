"""One file of a study is read from the chunks that it lies in; the rest leaves no holder."""

import hashlib

import pytest
import trio

from protocol import limits
from protocol.audit import AuditEvent
from protocol.blobs import PIECE_BYTES
from protocol.control import MyRecord
from protocol.errors import Code, Malformed, Refused, UserError
from protocol.study import StudyFile, decode_head, encode_head
from tests.clinic_world import plaintext
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import add, clinic, get, outside, play, receive_code, share
from tests.sim.test_who import entries

# Each image lies in two or three chunks; the first two files come with the index already.
FILES = {f"series/IM{number:02}": plaintext(300_000 + number, str(number)) for number in range(8)}
FILES |= {"empty": b"", "letter": b"%PDF-1.7 a letter"}


def study_of(files: dict[str, bytes], *, lie: str = "") -> bytes:
    """A study's record; the hash of the file called `lie` is that of another."""
    described = [
        StudyFile(path, len(raw), hashlib.sha256(raw + b"!" * (path == lie)).digest())
        for path, raw in files.items()
    ]
    return encode_head(described) + b"".join(raw for _, raw in sorted(files.items()))


STUDY = study_of(FILES)
HEAD_BYTES = len(STUDY) - sum(map(len, FILES.values()))
MANY = study_of({f"{number:05}" + "x" * 60: b"x" for number in range(3_000)} | FILES)


async def shared(cluster: Cluster, someone: Someone, content: bytes) -> tuple[SimNode, str]:
    """A clinic without a copy that may read a record of this content, and the record."""
    issuer = cluster.nodes[0]
    token = (await add(issuer, await receive_code(someone, issuer), content, name="knee")).token
    await trio.sleep(5)
    reader = outside(cluster, token)
    await share(someone, token, reader)
    return reader, token


def sent_bytes(cluster: Cluster) -> int:
    """How many bytes of ciphertext the clinics say that they served, all together."""
    logs = [entry for node in cluster.nodes for entry in entries(node)]
    return sum(entry.bytes for entry in logs if entry.event == AuditEvent.OUTCOME)


@pytest.mark.parametrize("path", ["series/IM00", "series/IM04", "series/IM07", "empty", "letter"])
def test_a_file_comes_with_the_index_and_its_own_chunks_and_no_others(path: str) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, STUDY)
        result, content, _ = await get(reader, token, file=path)
        assert content == FILES[path]
        assert (result.bytes, result.name) == (len(content), path)
        assert result.sha256 == hashlib.sha256(content).hexdigest()
        start = decode_head(STUDY[:HEAD_BYTES]).find(path)[1]
        covering = -(-(start + len(content)) // PIECE_BYTES) - start // PIECE_BYTES
        is_first = start + len(content) <= PIECE_BYTES
        chunks = 1 if is_first else 1 + covering
        assert (chunks - 1) * PIECE_BYTES < sent_bytes(cluster) <= chunks * limits.CHUNK_BYTES < len(STUDY)

    play(story)


def test_the_index_alone_is_enough_to_see_what_there_is() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, STUDY)
        _, content, _ = await get(reader, token, is_index=True)
        assert [one.path for one in decode_head(content).files] == sorted(FILES)
        assert sent_bytes(cluster) <= limits.CHUNK_BYTES

    play(story)


def test_an_index_of_several_chunks_is_fetched_to_its_end() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, MANY)
        _, content, _ = await get(reader, token, is_index=True)
        assert len(content) > PIECE_BYTES
        assert len(decode_head(content).files) == 3_000 + len(FILES)
        _, image, _ = await get(reader, token, file="series/IM03")
        assert image == FILES["series/IM03"]

    play(story)


def test_the_patient_opens_one_image_of_her_study() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        _, token = await shared(cluster, someone, STUDY)
        shown = bytearray()

        async def keep(piece: bytes) -> None:
            shown.extend(piece)

        result = await someone.my.record(MyRecord(id=token, file="series/IM05"), keep)
        assert (bytes(shown), result.name) == (FILES["series/IM05"], "series/IM05")
        shown.clear()
        await someone.my.record(MyRecord(id=token, is_index=True), keep)
        assert len(decode_head(bytes(shown)).files) == len(FILES)

    play(story)


def test_a_file_that_is_not_there_and_a_record_that_is_no_study_are_named() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, STUDY)
        with pytest.raises(UserError, match="no file called series/IM99") as caught:
            await get(reader, token, file="series/IM99")
        assert caught.value.code is Code.USAGE
        other, letter = await shared(cluster, someone, b"%PDF-1.7 a letter")
        with pytest.raises(UserError, match="no study") as caught:
            await get(other, letter, file="series/IM00")
        assert caught.value.code is Code.USAGE

    play(story)


def test_a_file_that_is_not_the_one_its_index_names_is_not_believed() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, study_of(FILES, lie="series/IM02"))
        with pytest.raises(Malformed, match="series/IM02"):
            await get(reader, token, file="series/IM02")
        _, content, _ = await get(reader, token, file="series/IM03")
        assert content == FILES["series/IM03"]

    play(story)


def test_a_study_with_more_bytes_than_its_index_names_is_not_believed() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, STUDY + b"more")
        with pytest.raises(Malformed, match="another length"):
            await get(reader, token, file="series/IM02")

    play(story)


def test_without_a_grant_a_file_is_refused_as_the_whole_is() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), STUDY, name="knee")).token
        await trio.sleep(5)
        stranger = outside(cluster, token)
        for part in ({}, {"file": "series/IM00"}, {"file": "not there"}, {"is_index": True}):
            with pytest.raises(Refused) as caught:
                await get(stranger, token, **part)
            assert caught.value.code is Code.REFUSED
            with pytest.raises(Refused):
                await get(stranger, "ff" * 32, **part)

    play(story)


def test_a_holder_that_dies_is_followed_by_another_within_a_file() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        reader, token = await shared(cluster, someone, STUDY)
        result, _, _ = await get(reader, token, is_index=True)
        first = next(node for node in cluster.nodes if node.identity.hex() == result.source)
        vault, chunks = clinic(first).vault, first.disk.blobs
        assert vault is not None
        chunks.write([], [key for key, _ in chunks.iterate(b"chunk/")])
        later, content, _ = await get(reader, token, file="series/IM06")
        assert content == FILES["series/IM06"]
        assert later.source != result.source

    play(story)


def test_an_owner_asks_the_holders_first_so_that_nobody_has_to_refuse_her() -> None:
    """Each refusal stands in her list of accesses, and she would wonder at it."""

    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        _, token = await shared(cluster, someone, STUDY)
        other = outside(cluster, token)
        for _ in range(4):
            someone.clinics.prefer(other.identity)

            async def drop(piece: bytes) -> None:
                assert piece

            await someone.my.record(MyRecord(id=token, file="letter"), drop)
        await trio.sleep(5)
        events = {entry.event for node in cluster.nodes for entry in entries(node)}
        assert events == {AuditEvent.INTENT, AuditEvent.OUTCOME}

    play(story)
