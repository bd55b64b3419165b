"""A valid value of any type of the wire, made up from its annotations and from what its fields are called.

A new type falls in by itself, unless it has rules of its own: those are said once, in `RULES`.
"""

import importlib
import pkgutil
import random
import types
import typing
from collections.abc import Callable
from typing import Any, Final

import msgspec

import node
import protocol
from node import keystore
from protocol import (
    access,
    access_requests,
    blocks,
    codes,
    evidence,
    export,
    grants,
    invitations,
    limits,
    pending,
    state,
    transactions,
)
from protocol.codec import Wire, encode
from protocol.keys import PublicKey, SealKey
from protocol.messages import audit, blob, consensus, light, members, submit
from protocol.messages import blocks as blocks_messages

WORDS: Final = ("", "a", "clinic-a", "Zürich", "記録", "\N{RIGHT-TO-LEFT OVERRIDE}x", "x" * 40)
NUMBERS: Final = (0, 1, 2, 3, 127, 128, 255, 256, 65_535, 65_536, 2**31, 2**32, 2**53, 2**63 - 1)
SIZES: Final[dict[str, int]] = {
    "signature": 64,
    "acceptance": 64,
    "salt": 32,
    "nonce": 32,
    "signatures": 64,
}
HASHES: Final = ("hash", "root", "head", "history", "parent", "commitment", "path", "siblings", "block")

Fields = dict[str, Any]


def wire_types() -> list[type[Wire]]:
    """Every type of `protocol` and `node` that is encoded, by module and name."""
    for package in (protocol, node):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found, waiting = set[type[Wire]](), [Wire]
    while waiting:
        for kind in waiting.pop().__subclasses__():
            waiting.append(kind)
            if kind.__module__.split(".")[0] in ("protocol", "node"):
                found.add(kind)
    return sorted(found, key=full_name)


def full_name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


class Maker:
    """Makes values by dice."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice

    def make(self, kind: type[Wire]) -> Any:
        """A value of a struct's type, one that obeys its rules."""
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {name: self._value(hints[name], name) for name in kind.__struct_fields__}
        fields |= RULES.get(kind, _no_rules)(self, fields)
        return kind(**fields)

    def some(self, kind: type[Wire], most: int = 3) -> tuple[Any, ...]:
        """A few values."""
        return tuple(self.make(kind) for _ in range(self._dice.randint(1, most)))

    def octets(self, count: int) -> bytes:
        return self._dice.randbytes(count)

    def pick(self, choices: typing.Sequence[Any]) -> Any:
        return self._dice.choice(choices)

    def hashes(self, most: int = 3) -> tuple[bytes, ...]:
        """Some hashes in rising order."""
        return tuple(sorted(self.octets(32) for _ in range(self._dice.randint(1, most))))

    def _value(self, hint: Any, name: str) -> Any:
        if hint is PublicKey:
            return b"\x01" + self.octets(32)
        if hint is SealKey:
            return b"\x02" + self.octets(32)
        if isinstance(hint, typing.NewType):  # a hash by another name
            return self.octets(32)
        origin = typing.get_origin(hint)
        if origin is typing.Annotated:
            return self._annotated(hint, name)
        if origin in (typing.Union, types.UnionType):
            return self._value(self.pick(typing.get_args(hint)), name)
        if origin is tuple:
            item, *more = typing.get_args(hint)
            if more != [...]:
                return tuple(self._value(each, name) for each in (item, *more))
            return tuple(self._value(item, name) for _ in range(self._dice.randint(0, 3)))
        if isinstance(hint, type) and issubclass(hint, Wire):
            return self.make(hint)
        return self._plain(hint, name)

    def _plain(self, hint: Any, name: str) -> Any:
        if hint is bool:
            return self._dice.random() < 0.5
        if hint is int:
            return self.pick(NUMBERS)
        if hint is str:
            return self.pick(WORDS)
        if hint is bytes:
            return self.octets(_size_of(name) or self._dice.choice((0, 1, 31, 32, 33, 64, 300)))
        if hint is type(None):
            return None
        raise TypeError(f"no made-up value for {hint} of the field {name}: teach tests/fuzz/values.py")

    def _annotated(self, hint: Any, name: str) -> Any:
        plain, *metas = typing.get_args(hint)
        for meta in metas:
            if isinstance(meta, msgspec.Meta) and meta.min_length == meta.max_length and meta.min_length:
                return self.octets(meta.min_length)
        return self._value(plain, name)


def _size_of(name: str) -> int:
    if name.endswith("_signature"):
        return 64
    is_hash = any(name == word or name.endswith("_" + word) for word in HASHES)
    return 32 if is_hash else SIZES.get(name, 0)


def _no_rules(_maker: Maker, _fields: Fields) -> Fields:
    return {}


def _content(maker: Maker, _fields: Fields) -> Fields:
    return {"suite": 1, "chunk": limits.CHUNK_BYTES, "length": maker.pick((1, 300, 2**17)), "chunks": 1}


def _small_members(maker: Maker, _fields: Fields) -> Fields:
    members = [maker.make(blocks.Member) for _ in range(maker.pick((1, 4, 7)))]
    members = [msgspec.structs.replace(one, name=f"clinic-{at}") for at, one in enumerate(members)]
    return {"version": blocks.VERSION, "limits": limits.NetworkLimits(), "members": tuple(members)}


def _asked(maker: Maker, _fields: Fields) -> Fields:
    count = maker.pick((1, 2, 5))
    return {
        "tokens": tuple(maker.octets(32) for _ in range(count)),
        "keys": tuple(b"\x01" + maker.octets(32) for _ in range(count)),
        "signatures": tuple(maker.octets(64) for _ in range(count)),
    }


def _grant_body(maker: Maker, _fields: Fields) -> Fields:
    purposes = maker.pick((("TREAT",), ("BTG", "TREAT")))
    return {
        "actions": ("read",),
        "purposes": purposes,
        "scope": ("record",),
        "obligations": maker.pick(((), ("a", "b"))),
        "break_glass": "BTG" in purposes,
        "not_before_ms": 1_700_000_000_000,
        "not_after_ms": 1_700_000_000_000 + limits.DAY_MS,
        "max_stale_s": maker.pick((1, 60, limits.MAX_STALE_S_MAX)),
        "salt": maker.octets(16),
    }


def _fetch(maker: Maker, _fields: Fields) -> Fields:
    return {"purpose": "TREAT", "user": "dr.b", "chunk_count": 1, "grant_body": maker.octets(40)}


def _block(maker: Maker, _fields: Fields) -> Fields:
    count = maker.pick((0, 1, 3))
    pieces = tuple(maker.octets(maker.pick((1, 60, 300))) for _ in range(count))
    return {"transactions": pieces, "sealed": tuple(maker.pick((b"", b"box")) for _ in pieces)}


def _keep(maker: Maker, _fields: Fields) -> Fields:
    return {"keep": maker.hashes()}


def _transfer(maker: Maker, _fields: Fields) -> Fields:
    return {"keep": maker.hashes(), "reason": maker.pick(sorted(transactions.TRANSFER_REASONS))}


def _member(maker: Maker, _fields: Fields) -> Fields:
    return {"name": maker.pick(("a", "Klinik Süd")), "addresses": ("/ip4/127.0.0.1/tcp/4001",)}


def _statement(maker: Maker, fields: Fields) -> Fields:
    return {"phase": maker.pick((1, 2, 3)), "view": fields["view"] or 1}


def _certificate(maker: Maker, _fields: Fields) -> Fields:
    count = maker.pick((1, 3, 5))
    return {"signers": (1 << count) - 1, "signatures": tuple(maker.octets(64) for _ in range(count))}


def _waiting(maker: Maker, fields: Fields) -> Fields:
    return {"height": fields["height"] or 1, "wait_ms": maker.pick((0, 1, light.WAIT_MS_MAX))}


def _located(maker: Maker, _fields: Fields) -> Fields:
    return {"transactions": maker.hashes(), "wait_ms": maker.pick((0, 8))}


def _proof_request(maker: Maker, fields: Fields) -> Fields:
    asked = _asked(maker, fields)
    return {"subjects": tuple(light.Subject(one, maker.octets(32)) for one in asked.pop("tokens")), **asked}  # type: ignore[arg-type]


def _invitation(maker: Maker, _fields: Fields) -> Fields:
    return {"name": "test", "addresses": ("/ip4/127.0.0.1/tcp/4001",), "secret": maker.octets(16)}


def _pending(maker: Maker, _fields: Fields) -> Fields:
    approvals = maker.some(transactions.Signature)
    return {"approvals": tuple(sorted(approvals, key=lambda item: item.key))}


def _request(maker: Maker, _fields: Fields) -> Fields:
    tokens = maker.pick(((), tuple(sorted({maker.octets(32), maker.octets(32)}))))
    return {
        "kind": "" if tokens else maker.pick(sorted(access_requests.KINDS)),
        "tokens": tokens,
        "purposes": ("HRESCH", "TREAT"),
        "for_ms": limits.DAY_MS,
        "not_after_ms": 1_700_000_000_000,
        "renews": b"",
        "salt": maker.octets(16),
    }


RULES: Final[dict[type, Callable[[Maker, Fields], Fields]]] = {
    export.ExportPiece: lambda maker, _fields: {"content": maker.octets(100)},
    access.FetchRequest: _fetch,
    access_requests.AccessRequest: _request,
    audit.AuditQuestion: _asked,
    blocks.Block: _block,
    blocks.Certificate: _certificate,
    blocks.Genesis: _small_members,
    blocks.Header: lambda _maker, _fields: {"version": blocks.VERSION},
    blocks.Member: _member,
    blocks.Statement: _statement,
    blocks_messages.BlocksRequest: lambda _maker, fields: {"last": fields["height"] + 7},
    blocks_messages.BlocksReply: lambda maker, _fields: {
        "blocks": maker.some(blocks.Block),
        "finality": maker.make(blocks.Finality),
    },
    blocks_messages.SealedRequest: lambda maker, _fields: {
        "wanted": maker.some(blocks_messages.SealedName)
    },
    blocks_messages.TimeRequest: lambda maker, _fields: {"nonce": maker.octets(16)},
    blob.ChunkFrame: lambda maker, _fields: {"ciphertext": maker.octets(300), "path": maker.hashes()},
    blob.CopyRequest: lambda maker, _fields: {
        "token": maker.octets(32),
        "first_chunk": 0,
        "chunk_count": 7,
    },
    blob.ReadCall: lambda _maker, _fields: {"first_chunk": 0, "chunk_count": 7},
    codes.ReceiveCode: lambda maker, _fields: {
        "clinic_name": "Klinik Süd",
        "reference": maker.octets(16),
    },
    consensus.Forward: lambda maker, _fields: {"submissions": maker.some(consensus.Submission)},
    consensus.Vote: lambda maker, _fields: {"signer": maker.pick((0, 3, limits.MEMBERS_MAX - 1))},
    grants.GrantBody: _grant_body,
    grants.RecordLabel: lambda _maker, _fields: {
        "title": "scan",
        "type": "fhir",
        "file_name": "a.json",
        "prior": b"",
        "keep_until_ms": 0,
    },
    invitations.Invitation: _invitation,
    light.HeadersRequest: _waiting,
    light.LocateRequest: _located,
    light.OwnedRequest: lambda maker, fields: {
        name: value for name, value in _asked(maker, fields).items() if name != "tokens"
    },
    keystore.WalletKeys: lambda maker, _fields: {"hot_masters": maker.hashes()},
    light.WaitingRequest: lambda maker, fields: {
        name: value for name, value in _asked(maker, fields).items() if name != "tokens"
    },
    light.AnswerRequest: lambda maker, _fields: {"request": maker.octets(32)},
    light.GrantsRequest: lambda maker, _fields: {"signature": maker.octets(64)},
    light.ProofRequest: _proof_request,
    members.Accusations: lambda maker, _fields: {"evidence": maker.some(evidence.Evidence)},
    members.Changes: lambda maker, _fields: {"changes": maker.some(pending.PendingChange)},
    members.Hello: lambda _maker, _fields: {"software": "0.1.0"},
    pending.PendingChange: _pending,
    submit.SubmitRequest: lambda maker, _fields: {"submissions": maker.some(consensus.Submission)},
    state.MemberState: lambda _maker, _fields: {"name": "clinic-a"},
    transactions.Content: _content,
    transactions.Mint: lambda maker, _fields: {"nonce": maker.octets(16)},
    transactions.Rotate: _keep,
    transactions.Transfer: _transfer,
}


def encoded(kind: type[Wire], dice: random.Random) -> bytes:
    """The bytes of a made-up value."""
    return encode(Maker(dice).make(kind))
