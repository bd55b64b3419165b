"""What a member says in gossip, and the same spoiled: bytes, lengths, kinds of fields, pieces of others."""

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from libp2p.pubsub.pb import rpc_pb2

from tests.e2e.payloads import (
    announcements,
    fake_subscriptions,
    gossip_with_garbage_key,
    requests,
    signed_gossip,
    subscription,
    unsigned_gossip,
    varint,
)
from tests.fuzz.mutate import BYTE_ACTS

Spoil = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
WHOLE_MAX: Final = 4096  # of one spoiled message, so that a hundred thousand take seconds


def samples(topic: str, author: bytes, text: bytes) -> list[bytes]:
    """One message of gossip of each kind, without its length; `author` is the identity seed of a member,
    `text` what its one true message says."""
    true = signed_gossip(topic, author, text, number=1)
    own = body_of(true)
    whole = rpc_pb2.RPC.FromString(own)
    whole.MergeFromString(body_of(subscription(topic)) + body_of(requests(2)))
    grafted = rpc_pb2.RPC()
    grafted.control.graft.add(topicID=topic)
    pruned = rpc_pb2.RPC()
    pruned.control.prune.add(topicID=topic, backoff=60)
    kinds = (
        announcements(topic, 3),
        requests(3),
        subscription(topic),
        fake_subscriptions(2),
        gossip_with_garbage_key(topic),
        unsigned_gossip(topic, b"\x01" + whole.publish[0].key[-32:]),  # type: ignore[arg-type]
    )
    plain = (whole, grafted, pruned)
    return [own, own, *map(body_of, kinds), *(one.SerializeToString() for one in plain)]


def body_of(framed: bytes) -> bytes:
    """A message without the length in front."""
    at = next(index for index, octet in enumerate(framed) if octet < 0x80)
    return framed[at + 1 :]


def frames(dice: random.Random, pool: Sequence[bytes], count: int) -> Iterator[bytes]:
    """So many spoiled messages with their lengths; of some the length is the lie."""
    for _ in range(count):
        body = spoil(dice, dice.choice(pool), pool)[:WHOLE_MAX]
        if dice.randrange(16):
            yield varint(len(body)) + body
        else:
            yield dice.choice(LENGTHS)(dice, len(body)) + body


def spoil(dice: random.Random, body: bytes, pool: Sequence[bytes]) -> bytes:
    for _ in range(dice.choice((1, 1, 1, 2, 4))):
        body = dice.choice(ACTS)(dice, body, pool)
    return body


def _fields(body: bytes) -> list[tuple[int, int, int]]:
    """(start, content, end) of the fields of a message, as far as it is one."""
    found: list[tuple[int, int, int]] = []
    at = 0
    while at < len(body):
        start = at
        key, at = _number(body, at)
        length = 0
        if key & 7 == 2:
            length, at = _number(body, at)
        elif key & 7 == 0:
            content = at
            _, at = _number(body, at)
            found.append((start, content, at))
            continue
        else:
            break
        if at + length > len(body):
            break
        found.append((start, at, at + length))
        at += length
    return found


def _number(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body):
        value, shift, at = value | (body[at] & 0x7F) << shift, shift + 7, at + 1
        if body[at - 1] < 0x80:
            break
    return value, at


def _inside(dice: random.Random, body: bytes, pool: Sequence[bytes]) -> bytes:
    """Spoils what one field holds, and puts the field's length right."""
    sized = [one for one in _fields(body) if body[one[0]] & 7 == 2]
    if not sized:
        return body
    start, content, end = dice.choice(sized)
    inner = dice.choice(ACTS)(dice, body[content:end], pool)
    return body[: start + 1] + varint(len(inner)) + inner + body[end:]


def _rename(dice: random.Random, body: bytes, _pool: Sequence[bytes]) -> bytes:
    """Another number or another kind for one field."""
    fields = _fields(body)
    if not fields:
        return body
    start = dice.choice(fields)[0]
    key = dice.choice((body[start] ^ 1 << dice.randrange(7), dice.randrange(128), 0, 7))
    return body[:start] + bytes((key,)) + body[start + 1 :]


def _repeat(dice: random.Random, body: bytes, _pool: Sequence[bytes]) -> bytes:
    """One field many times."""
    fields = _fields(body)
    if not fields:
        return body
    start, _, end = dice.choice(fields)
    return body + body[start:end] * dice.choice((1, 2, 40))


def _merge(dice: random.Random, body: bytes, pool: Sequence[bytes]) -> bytes:
    """To protobuf two messages behind each other are one."""
    return body + dice.choice(pool)


def _graft(dice: random.Random, body: bytes, pool: Sequence[bytes]) -> bytes:
    """A field of another message in the place of one of this."""
    own, other = _fields(body), dice.choice(pool)
    others = _fields(other)
    if not own or not others:
        return body + other
    start, _, end = dice.choice(own)
    first, _, last = dice.choice(others)
    return body[:start] + other[first:last] + body[end:]


def _nest(dice: random.Random, body: bytes, _pool: Sequence[bytes]) -> bytes:
    """A message in a message in a message, in the place where control messages are."""
    for _ in range(dice.choice((2, 120))):
        body = b"\x1a" + varint(len(body)) + body
    return body


ACTS: Final[tuple[Spoil, ...]] = (
    *BYTE_ACTS,
    _inside,
    _inside,
    _inside,
    _rename,
    _repeat,
    _merge,
    _graft,
    _nest,
)
LENGTHS: Final[tuple[Callable[[random.Random, int], bytes], ...]] = (
    lambda dice, length: varint(length + dice.randrange(1, 9)),
    lambda dice, length: varint(max(0, length - dice.randrange(1, 9))),
    lambda dice, length: varint(1 << dice.randrange(18, 63)),
    lambda dice, length: varint(length)[:-1] + bytes((varint(length)[-1] | 0x80, 0)),
    lambda dice, length: b"\xff" * dice.randrange(1, 12),
    lambda dice, length: b"\x00",
)
