"""Every vote key of the past is leaked: who holds a later final block is told nothing by them."""

from collections.abc import Sequence

import pytest
import trio
from msgspec.structs import replace

from protocol.blocks import (
    Block,
    Finality,
    block_hash,
)
from protocol.codec import encode
from protocol.keys import PublicKey, SigningKey
from protocol.merkle import EMPTY_ROOT
from protocol.messages.blocks import (
    BlocksReply,
    BlocksRequest,
    FinalBlock,
    SealedReply,
    SealedRequest,
    TimeReply,
    decode_question,
)
from protocol.messages.consensus import Relay, Vote
from protocol.messages.light import (
    HeadersReply,
    HeadersRequest,
    RouteReply,
    RouteRequest,
    decode_light_question,
)
from tests.sim.epoch_world import Changing
from tests.sim.forging import Liar, certify
from tests.sim.light_world import someone_new
from tests.sim.nodes import SimNode
from tests.sim.world import World, simulate

AHEAD = 1_000


class Impostor(Liar):
    """In the place of `node`: with its identity, and with every key that once voted in epoch 0.

    Whatever it is asked, it answers with a block on the newest final one, "final" by those keys, as of
    `epoch`: the old one, or the present one.
    """

    def __init__(self, changing: Changing, node: SimNode, old: Sequence[SigningKey], epoch: int) -> None:
        super().__init__(changing, node)
        self._changing, self._old, self._epoch = changing, old, epoch
        self.serve_blocks()
        self.serve_light()

    def forged(self) -> tuple[Block, Finality]:
        head = self._changing.head(self._changing.validators[0])
        header = replace(
            head,
            epoch=self._epoch,
            view=head.view + 1,
            height=head.height + 1,
            parent=block_hash(head),
            time_ms=head.time_ms + 1,
            tx_root=EMPTY_ROOT,
            proposer=self._old[0].public,
        )
        return Block(header, (), ()), Finality(certify(header, self._old, self._network))

    def say_all(self, peers: Sequence[PublicKey]) -> None:
        """As a validator would: every old key's statements, and the certificates that they make."""
        certificate = self.forged()[1].certificate
        for peer in peers:
            self.transport.send(peer, "consensus", encode(Relay(certificate)))
            for signer, signature in enumerate(certificate.signatures):
                vote = Vote(certificate.statement, signer, signature)
                self.transport.send(peer, "consensus", encode(vote))

    async def publish(self) -> None:
        await self.transport.publish("blocks", encode(FinalBlock(*self.forged())))

    async def _answer_blocks(self, peer: PublicKey, frame: bytes) -> bytes:
        match decode_question(frame):
            case BlocksRequest():
                self.told += 1
                block, finality = self.forged()
                return encode(BlocksReply((block,), finality, block.header.height + AHEAD))
            case SealedRequest(wanted):
                return encode(SealedReply((b"",) * len(wanted)))
            case question:
                now_ms = self._changing.nodes[0].clock.wall_ms()
                return encode(TimeReply(question.nonce, now_ms, self.forged()[0].header.height + AHEAD))

    async def _answer_light(self, peer: PublicKey, frame: bytes) -> bytes:
        question = decode_light_question(frame)
        if isinstance(question, RouteRequest):
            return encode(RouteReply(None))
        assert isinstance(question, HeadersRequest)
        self.told += 1
        block, finality = self.forged()
        return encode(HeadersReply((block.header,), finality, None, None, block.header.height))


@pytest.mark.parametrize("epoch", [0, 4])
def test_all_old_keys_together_change_nothing_for_who_holds_a_later_block(epoch: int) -> None:
    async def tell(world: World) -> None:
        async with trio.open_nursery() as nursery:
            changing = Changing(world, nursery, later=0)
            changing.cluster.start()
            old = [node.seat.vote_key for node in changing.validators]
            for node in changing.nodes:
                height = await changing.rotate(node)
            await changing.settle(changing.nodes, height=height + 1)
            someone = someone_new(changing.cluster, changing.network)
            await nursery.start(someone.run)
            await someone.chain.wait_height(height + 1)

            *honest, replaced = changing.nodes
            replaced.crash()
            impostor = Impostor(changing, replaced, old, epoch)
            await nursery.start(impostor.transport.run)
            peers = [node.identity for node in honest]
            for _ in range(20):
                impostor.say_all(peers)
                await impostor.publish()
                await trio.sleep(1)
            await changing.settle(honest, height=changing.height(honest[0]) + 2)
            assert impostor.told, "nobody asked it"
            assert changing.check().epoch == 4
            for node in honest:
                node.crash()
            asked, head = impostor.told, changing.head(honest[0])
            await trio.sleep(30)
            assert impostor.told > asked, "the light client did not ask it"
            assert someone.chain.height <= head.height
            nursery.cancel_scope.cancel()
            changing.cluster.stop()

    simulate(tell, 1)
