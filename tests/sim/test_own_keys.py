"""A patient's keys: a lost phone, a new one, and a thief who has all that the old one held."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from msgspec.structs import replace

from node.keystore import WalletKeys
from node.light.transact import Transactor
from node.light.wallet import OwnRecord, RecordState
from protocol.codec import digest, encode
from protocol.control import KeysRefill, MyCode, MyLostPhone, MyRecover, MyShare
from protocol.errors import Code, UserError
from protocol.keys import PublicKey, SigningKey
from protocol.limits import DAY_MS, KEY_GAP_MAX, KEY_SKIP
from protocol.messages.consensus import Submission
from protocol.state import is_live
from protocol.transactions import (
    Body,
    Erase,
    GrantId,
    Revoke,
    Rotate,
    TokenId,
    TransactionId,
    Transfer,
    sealed_hash,
    sign_transaction,
)
from protocol.wallet import HotMaster, cold_master, hot_master, next_key, opening_key, owner_key, words_of
from tests.sim.light_world import ENTROPY, LedgerClinic, Someone, issue, services, someone_new
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.test_light import play
from tests.sim.test_lookups import Noting, NotingClinic

WORDS = words_of(ENTROPY)
BLANK = WalletKeys((hot_master(ENTROPY).secret,), ())
Story = Callable[[Cluster, Someone, Callable[[], Awaitable[Someone]]], Awaitable[None]]


def play_two(story: Story, *, clinic: type[LedgerClinic] = LedgerClinic) -> None:
    """`story` with clinics, a patient, and a way to another device that has her words and nothing else."""

    async def tell(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        async with trio.open_nursery() as nursery:

            async def new_device() -> Someone:
                other = someone_new(cluster, network, keys=BLANK, name=f"device-{len(devices)}")
                devices.append(other)
                await nursery.start(other.run)
                await trio.sleep(3)
                return other

            devices: list[Someone] = []
            await story(cluster, someone, new_device)
            nursery.cancel_scope.cancel()

    play(tell, clinic=clinic)


async def shared(someone: Someone, token: TransactionId, clinic: str = "n1") -> GrantId:
    request = MyShare(records=(token.hex(),), clinic=clinic, for_ms=DAY_MS, purposes=("TREAT",))
    [grant] = (await someone.my.share(request)).grants
    return GrantId(bytes.fromhex(grant.grant))


def live_everywhere(cluster: Cluster, token: TransactionId, grant_id: GrantId) -> set[bool]:
    """What the clinics that run think of a grant."""
    states = [services(node).ledger.state for node in cluster.nodes]
    found = [(state.token(TokenId(token)), state.grant(TokenId(token), grant_id)) for state in states]
    return {one is not None and grant is not None and is_live(grant, one) for one, grant in found}


async def settle(cluster: Cluster, someone: Someone) -> None:
    """Every clinic is as far as the patient."""
    with trio.fail_after(60):
        while any(services(node).ledger.height < someone.chain.height for node in cluster.nodes):
            await services(cluster.nodes[0]).ledger.wait_advanced()
            await trio.sleep(1)


def test_a_lost_phone_ends_what_was_shared_everywhere_but_what_is_kept() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        one, two = [await issue(someone, cluster.nodes[at], f"Letter {at}") for at in (0, 1)]
        ended, kept = await shared(someone, one), await shared(someone, two, "n2")
        before = {record.token: record for record in someone.wallet.records()}
        result = await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS, keep=(kept.hex(),)))
        assert (result.device, result.kept) == (1, (kept.hex(),))
        assert [item.final for item in result.records] == [True, True]
        await settle(cluster, someone)
        assert live_everywhere(cluster, one, ended) == {False}
        assert live_everywhere(cluster, two, kept) == {True}
        assert {grant.grant: grant.state for grant in (await someone.my.shares()).grants} == {
            ended.hex(): "ended",
            kept.hex(): "live",
        }
        records = someone.wallet.records()
        assert {record.token for record in records} == set(before)
        for record in records:
            assert (record.device, record.generation) == (1, before[record.token].generation + 1)
            assert someone.wallet.open(record).content_key
            state = services(cluster.nodes[3]).ledger.state.token(record.token)
            assert state is not None
            assert state.owner_key == someone.wallet.owner_key(record).public
        assert {item.title for item in (await someone.my.records()).records} == {"Letter 0", "Letter 1"}
        await shared(someone, one, "n3")

    play(story)


def test_a_lost_phone_can_be_lost_again() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        for device in (1, 2):
            result = await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
            assert (result.device, result.records[0].final) == (device, True)
        [record] = someone.wallet.records()
        assert (bytes(record.token), record.device, record.generation) == (token, 2, 2)

    play(story)


def test_a_new_device_finds_everything_from_the_words_alone() -> None:
    async def story(cluster: Cluster, someone: Someone, other: Callable[[], Awaitable[Someone]]) -> None:
        tokens = {await issue(someone, cluster.nodes[at], f"Letter {at}") for at in (0, 1)}
        await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        tokens.add(await issue(someone, cluster.nodes[2], "After the loss"))
        await someone.my.records()
        device = await other()
        own_keys = device.patient.own_keys
        for attempt in (
            device.my.code(MyCode(clinic="n0")),
            own_keys.refill(KeysRefill(words=WORDS)),
            own_keys.lost_phone(MyLostPhone(words=WORDS)),
        ):
            with pytest.raises(UserError) as early:
                await attempt
            assert early.value.code is Code.NOT_INITIALISED
        Noting.asked.clear()
        result = await device.patient.own_keys.recover(MyRecover(words=WORDS))
        assert (result.device, result.records) == (1, 3)
        every = set[PublicKey]().union(*Noting.asked.values())
        assert len(every) > 2 * KEY_GAP_MAX
        assert all(len(some) < 0.4 * len(every) for some in Noting.asked.values())
        assert len(Noting.asked) == len(cluster.nodes)
        assert {bytes(one.token) for one in device.wallet.records()} == tokens
        assert [plain(one) for one in device.wallet.records()] == [
            plain(one) for one in someone.wallet.records()
        ]
        assert len((await device.my.records()).records) == 3
        used = {one.index for one in someone.wallet.records()}
        used |= {one.index for one in someone.wallet.offers()}
        [offer] = device.wallet.offer([cluster.nodes[0].identity], 10**13)
        assert offer.index not in used
        # What the lost device may have promised and nobody used yet is left out.
        assert offer.index == max(one.index for one in device.wallet.records()) + 1 + KEY_SKIP
        assert offer.device == 1

    play_two(story, clinic=NotingClinic)


def plain(record: OwnRecord) -> OwnRecord:
    """Without what depends on when it was looked at."""
    return replace(record, seen_height=0)


def test_a_device_notices_that_another_took_its_records_over() -> None:
    async def story(cluster: Cluster, someone: Someone, other: Callable[[], Awaitable[Someone]]) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.records()
        device = await other()
        await device.patient.own_keys.recover(MyRecover(words=WORDS))
        await device.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        await settle(cluster, device)
        await trio.sleep(2)
        assert (await someone.my.records()).records == ()
        known = someone.wallet.record_of(TokenId(token))
        assert known is not None
        assert known.state == RecordState.GONE
        assert len((await device.my.records()).records) == 1

    play_two(story)


def test_other_words_are_noticed_and_do_nothing() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        await issue(someone, cluster.nodes[0], "Letter")
        other = words_of(digest("other", b""))
        before = someone.wallet.keys
        for attempt in (
            someone.patient.own_keys.lost_phone(MyLostPhone(words=other)),
            someone.patient.own_keys.recover(MyRecover(words=other)),
            someone.patient.own_keys.refill(KeysRefill(words=other)),
            someone.patient.own_keys.refill(KeysRefill(words=WORDS.replace(" ", " x", 1))),
        ):
            with pytest.raises(UserError) as wrong:
                await attempt
            assert wrong.value.code is Code.WORDS
        assert someone.wallet.keys == before

    play(story)


def test_the_words_refill_a_pool_that_is_used_up() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        someone.wallet.offer([cluster.nodes[0].identity] * 8, 10**13)
        with pytest.raises(UserError):
            someone.wallet.offer([cluster.nodes[0].identity], 10**13)
        result = await someone.patient.own_keys.refill(KeysRefill(words=WORDS))
        assert (result.used, result.left) == (8, 256)
        token = await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.records()
        assert [one.index for one in someone.wallet.records()] == [8]
        # The hash that was committed to is that of the key which the words give.
        rotated = await someone.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        assert [(item.token, item.final) for item in rotated.records] == [(token.hex(), True)]

    play(story)


def test_what_was_proven_later_stands() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.records()
        [record] = someone.wallet.records()
        newer = replace(record, generation=record.generation + 1, index=record.index + 1, seen_height=3)
        newest = replace(newer, seen_height=4)
        for older in (record, newer, replace(record, seen_height=9)):
            someone.wallet.put_record(newest)
            someone.wallet.put_record(older)
            assert someone.wallet.records() == [newest]

    play(story)


class Thief:
    """Has all that a device holds, the passphrase included; the words were never on it."""

    def __init__(self, someone: Someone) -> None:
        keys = someone.wallet.keys
        assert encode(keys), "what the wallet file holds is what the thief has"
        self._hot = HotMaster(keys.hot_masters[-1])
        self._network = someone.chain.network
        [record] = someone.wallet.records()
        self.token, self.generation = record.token, record.generation
        self.owner = owner_key(self._hot, record.index)
        self._fresh, self._box = owner_key(self._hot, 900), opening_key(self._hot, 900).public

    def attempts(self, real_next: PublicKey) -> list[tuple[Body, tuple[SigningKey, ...]]]:
        """Every way to take the token or erase it without its next key. `real_next` is that key's public
        half, which a thief only learns once it is used."""
        made: list[tuple[Body, tuple[SigningKey, ...]]] = []
        for claimed, signer in (
            (self.owner.public, self.owner),
            (self._fresh.public, self._fresh),
            (real_next, self.owner),
        ):
            fields = (claimed, self._fresh.public, digest("next", b""), self._box, sealed_hash(b""))
            rotate = Rotate(self.token, self.generation, *fields, ())
            transfer = Transfer(self.token, self.generation, "recovery", *fields, ())
            erase = Erase(self.token, self.generation, claimed)
            made.append((rotate, (signer, self._fresh)))
            made.append((transfer, (self.owner, signer, self._fresh)))
            made.append((erase, (self.owner, signer)))
        return made

    def raw(self, body: Body, signers: tuple[SigningKey, ...]) -> bytes:
        return sign_transaction(body, signers, self._network)


def test_a_thief_of_the_device_can_neither_take_nor_erase_and_loses_what_he_shared() -> None:
    async def story(cluster: Cluster, someone: Someone, other: Callable[[], Awaitable[Someone]]) -> None:
        token = await issue(someone, cluster.nodes[0], "Letter")
        await someone.my.records()
        thief = Thief(someone)
        stolen = await shared(someone, token, "n3")  # what the hot key can do, he can
        real_next = next_key_of(someone).public
        before = services(cluster.nodes[0]).ledger.state.token(TokenId(token))
        for body, signers in thief.attempts(real_next):
            await submit(someone, thief.raw(body, signers))
        await trio.sleep(20)
        assert services(cluster.nodes[0]).ledger.state.token(TokenId(token)) == before
        device = await other()
        await device.patient.own_keys.recover(MyRecover(words=WORDS))
        await device.patient.own_keys.lost_phone(MyLostPhone(words=WORDS))
        await settle(cluster, device)
        assert live_everywhere(cluster, token, stolen) == {False}
        after = services(cluster.nodes[0]).ledger.state.token(TokenId(token))
        assert before is not None
        assert after is not None
        assert after.generation == before.generation + 1
        # The next key is public now, and still of no use to him; nor is the owner key.
        later = Thief(someone)
        later.generation += 1
        kept = GrantId(digest("later", b""))
        for body, signers in [
            *later.attempts(real_next),
            (Revoke(TokenId(token), kept), (later.owner,)),
        ]:
            await submit(someone, later.raw(body, signers))
        await trio.sleep(20)
        assert services(cluster.nodes[0]).ledger.state.token(TokenId(token)) == after

    play_two(story)


def next_key_of(someone: Someone) -> SigningKey:
    [record] = someone.wallet.records()
    return next_key(cold_master(ENTROPY), record.index)


async def submit(someone: Someone, raw: bytes) -> None:
    """Gives it to every clinic; none may stumble over it."""
    transactor = Transactor(chain=someone.chain, clinics=someone.clinics)
    assert await transactor.submit_everywhere(Submission(raw, b"")) == []
