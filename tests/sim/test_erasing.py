"""A patient erases a record: what she is told before, who attests it after, and who cannot do it."""

from collections.abc import Sequence

import pytest
import trio

from node.records.audit_chain import AuditChain
from protocol import limits
from protocol.audit import AuditEvent, AuditRecord
from protocol.codec import digest
from protocol.codes import check_code, decode_code
from protocol.control import EraseResult, MyErase, utc
from protocol.errors import Code, UserError
from protocol.grants import RecordLabel, SealedKey, seal_key
from protocol.transactions import Mint, TokenId, sealed_hash, sign_transaction
from protocol.wallet import words_of
from tests.sim.light_world import ENTROPY, Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster, SimNode
from tests.sim.record_world import RECORD, add, clinic, get, outside, play, receive_code, share, whole
from tests.sim.test_held_copies import holding, token_of

WORDS = words_of(ENTROPY)


async def erase(someone: Someone, token: str, words: str | None = None) -> EraseResult:
    return await someone.patient.erasing.erase(MyErase(record=token, words=words))


def states(result: EraseResult) -> dict[str, str]:
    return {holder.name: holder.state for holder in result.holders}


def test_what_is_erased_is_attested_by_each_holder_also_by_one_that_comes_back() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code = await receive_code(someone, first, 2)
        added, other = await add(first, code, RECORD), await add(first, code, RECORD + b"2")
        await trio.sleep(5)
        reader = outside(cluster, added.token)
        grant = await share(someone, added.token, reader)
        await get(reader, added.token)
        await trio.sleep(1)
        held_by = holding(cluster.nodes, added.token)
        shown = await erase(someone, added.token)
        assert (shown.state, shown.final, shown.title) == ("owned", False, "Letter")
        assert states(shown) == {node.name: "holds" for node in held_by}
        assert [one.grant for one in shown.grants] == [grant]
        assert [one.member for one in shown.accesses] == [reader.identity.hex()]
        away = held_by[-1]
        away.crash()
        await trio.sleep(1)
        result = await erase(someone, added.token[:12], WORDS)
        assert (result.token, result.state, result.final) == (added.token, "erased", True)
        assert result.deleted_at == tuple(
            node.identity.hex() for node in cluster.nodes if node in held_by and node is not away
        )
        assert result.unreached == (away.identity.hex(),)
        assert states(result)[away.name] == "unreached"
        assert holding(cluster.nodes, added.token) == []
        away.start()
        await trio.sleep(30)
        later = await erase(someone, added.token)
        assert (set(states(later).values()), len(later.deleted_at)) == ({"deleted"}, 3)
        assert later.unreached == ()
        # Erasing one again with the words changes nothing, and the other record is as it was.
        assert await erase(someone, added.token, WORDS) == later
        assert [one.token for one in (await someone.my.records()).records] == [other.token]
        assert len(holding(cluster.nodes, other.token)) == 3
        [listed] = (await someone.patient.erasing.erasures()).erasures
        assert listed == later
        assert {one.state for one in (await someone.my.shares()).grants} == {"ended"}

    play(story)


def test_without_the_words_of_the_wallet_nothing_is_erased() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        before = token_of(first, added.token)
        assert not (await erase(someone, added.token)).final
        for words in (words_of(digest("other", b"")), "abandon art"):
            with pytest.raises(UserError) as wrong:
                await erase(someone, added.token, words)
            assert wrong.value.code is Code.WORDS
        with pytest.raises(UserError) as unknown:
            await erase(someone, "ab" * 32, WORDS)
        assert unknown.value.code is Code.REFUSED
        await trio.sleep(5)
        assert token_of(first, added.token) == before
        assert len(holding(cluster.nodes, added.token)) == 3
        assert (await someone.patient.erasing.erasures()).erasures == ()

    play(story)


def test_a_holder_that_hides_its_attestation_is_not_counted() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        await trio.sleep(5)
        liar, silent = holding(cluster.nodes, added.token)[1:]

        class Hiding(AuditChain):
            def for_tokens(
                self, tokens: Sequence[TokenId], *, after: int, through: int, bytes_max: int
            ) -> tuple[list[AuditRecord], bool]:
                found, more = super().for_tokens(tokens, after=after, through=through, bytes_max=bytes_max)
                return [one for one in found if one.event != AuditEvent.DELETION], more

        async def attest_nothing(token: TokenId) -> None:
            await trio.lowlevel.checkpoint()

        clinic(liar).audit.chain = Hiding(liar.disk.audit)
        clinic(silent).audit.attest_deletion = attest_nothing  # type: ignore[method-assign]
        result = await erase(someone, added.token, WORDS)
        assert result.deleted_at == (first.identity.hex(),)
        assert result.unreached == ()
        assert states(result) == {first.name: "deleted", liar.name: "changed", silent.name: "waiting"}

    play(story)


async def mint_again(someone: Someone, node: SimNode, token: str) -> str:
    """A second token of the same ciphertext, as no honest clinic makes it; final when this returns."""
    code = decode_code(await receive_code(someone, node))
    network, now_ms = someone.chain.network, node.clock.wall_ms()
    [enrolment] = check_code(
        code, network=network, clinic=node.identity, now_ms=now_ms, used=lambda key: False
    )
    terms, content = enrolment.terms, token_of(node, token).content
    label = RecordLabel("Again", "fhir", "again.json", content.length, now_ms, b"")
    box = seal_key(SealedKey(bytes(32), label, code.reference), to=terms.enc_key, entropy=bytes(32))
    body = Mint(
        bytes(16),
        node.identity,
        terms.owner_key,
        terms.next_key_hash,
        terms.enc_key,
        content,
        sealed_hash(box),
        enrolment.signed,
    )
    submissions = whole(node).services.submissions
    name = await submissions.submit(
        sign_transaction(body, (node.seat.id_key,), network), box, sender=node.identity
    )
    await submissions.wait_final(name)
    return name.hex()


def test_ciphertext_of_two_tokens_stays_until_both_are_erased() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        added = await add(first, await receive_code(someone, first), RECORD)
        second = await mint_again(someone, first, added.token)
        await trio.sleep(5)
        held_by = holding(cluster.nodes, added.token)
        result = await erase(someone, added.token, WORDS)
        assert (result.final, result.deleted_at) == (True, ())
        assert set(states(result).values()) == {"waiting"}
        # Neither a look at all tokens nor a restart takes it from the token that lives.
        held_by[-1].crash()
        held_by[-1].start()
        await trio.sleep(60)
        assert holding(cluster.nodes, second) == held_by
        await erase(someone, second, WORDS)
        with trio.fail_after(limits.COPIES_CHECK_S):
            while len((await erase(someone, added.token)).deleted_at) < 3:  # noqa: ASYNC110
                await trio.sleep(10)
        assert holding(cluster.nodes, second) == []
        assert set(states(await erase(someone, second)).values()) == {"deleted"}

    play(story)


def test_what_its_issuer_has_to_keep_is_not_erased_before_its_day() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        now_ms = first.clock.wall_ms()
        kept = await add(
            first,
            await receive_code(someone, first),
            RECORD,
            keep_until_ms=now_ms + limits.RETENTION_MS_MAX,
        )
        free = await add(first, await receive_code(someone, first), b"%PDF-1.7 a letter")
        await trio.sleep(5)
        listed = {one.token: one.keep_until for one in (await someone.my.records()).records}
        assert listed == {kept.token: utc(now_ms + limits.RETENTION_MS_MAX), free.token: None}
        for words in (None, WORDS):
            with pytest.raises(UserError) as caught:
                await erase(someone, kept.token, words)
            assert caught.value.code is Code.RETENTION
        await trio.sleep(5)
        assert len(holding(cluster.nodes, kept.token)) == 3
        assert (await erase(someone, free.token, WORDS)).final

    play(story)


@pytest.mark.parametrize(
    "ahead_ms", [-limits.DAY_MS, limits.HOUR_MS, limits.RETENTION_MS_MAX + limits.DAY_MS]
)
def test_a_record_is_not_taken_in_that_would_be_kept_too_long_or_not_at_all(ahead_ms: int) -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        first = cluster.nodes[0]
        code, until_ms = await receive_code(someone, first), first.clock.wall_ms() + ahead_ms
        with pytest.raises(UserError) as caught:
            await add(first, code, RECORD, keep_until_ms=until_ms)
        assert caught.value.code is Code.DURATION

    play(story)
