"""The second reader's blobs, grants and codes, from the description alone."""

import hashlib
import hmac
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.vectors.independent import check_signature, digest, need, path_root, shape
from tests.vectors.plain_msgpack import Bad, unpack

CHUNK, PIECE, ALPHABET = 262_144, 262_128, "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"


def derive(key: bytes, salt: bytes, label: str) -> bytes:
    """HKDF-SHA256 to 32 bytes."""
    pseudorandom = hmac.digest(salt, key, "sha256")
    return hmac.digest(pseudorandom, b"chartmesh/1 blob " + label.encode() + b"\x01", "sha256")


def open_chunk(content: Any, key: bytes, frame: Any) -> bytes:
    """The plaintext of a ChunkFrame's fields, padding cut off."""
    suite, chunk, length, chunks, root, salt, commitment, _ = shape(content, "uuuuhhhh")
    need((suite, chunk) == (1, CHUNK) and 0 < length <= 64 << 30, "no such content")
    exponent = length.bit_length() - 1
    unit = 1 << max(exponent - exponent.bit_length(), 0)
    padded = -(-length // unit) * unit
    need(chunks == -(-padded // PIECE), "another number of chunks")
    index, path, ciphertext = shape(frame, "ulb")
    need(index < chunks, "no such chunk")
    need(len(ciphertext) == min(PIECE, padded - index * PIECE) + 16, "a chunk of another length")
    need(path_root(ciphertext, index, chunks, shape(path, "h" * len(path))) == root, "not of this blob")
    need(derive(key, salt, "key commitment") == commitment, "another key")
    nonce = index.to_bytes(11, "big") + bytes((index == chunks - 1,))
    associated = b"\x01" + CHUNK.to_bytes(4, "big") + length.to_bytes(8, "big")
    try:
        piece = AESGCM(derive(key, salt, "encryption")).decrypt(nonce, ciphertext, associated)
    except InvalidTag as error:
        raise Bad("a chunk that does not open") from error
    return piece[: max(0, length - index * PIECE)]


def grant_id(raw: bytes) -> bytes:
    """The id of an encoded GrantBody that a node may act on, under the default limits."""
    body = shape(unpack(raw), "hk**uuu**?g")
    _, _, actions, purposes, not_before, not_after, stale, scope, obligations, glass, _ = body
    for words, most, least in ((actions, 4, 1), (purposes, 8, 1), (scope, 16, 1), (obligations, 16, 0)):
        need(least <= len(shape(words, "t" * len(words))) <= most, "too few words or too many")
        need(words == sorted(set(words)), "words not distinct and rising")
        need(
            all(0 < len(word) <= 32 and word.isascii() and word.isprintable() for word in words), "no word"
        )
    need(glass == ("BTG" in purposes) and 1 <= stale <= 86_400, "break glass, or staleness")
    need(0 < not_after - not_before <= 400 * 86_400_000 and len(raw) <= 2048, "no such time")
    return digest("grant", raw)


def code_payload(text: str) -> tuple[int, bytes]:
    """Kind and payload of a code."""
    symbols = "".join(text.split()).replace("-", "").upper()
    need(symbols.startswith("CM1") and set(symbols[3:]) <= set(ALPHABET), "no code")
    number, count = 0, len(symbols) - 3
    for symbol in symbols[3:]:
        number = number << 5 | ALPHABET.index(symbol)
    spare = count * 5 % 8
    need(spare < 5 and not number & (1 << spare) - 1, "bits left over")
    raw = (number >> spare).to_bytes(count * 5 // 8, "big")
    need(len(raw) > 4 and digest("code", raw[:-4])[:4] == raw[-4:], "a slip in the code")
    return raw[0], raw[1:-4]


def receive_code(text: str) -> list[bytes]:
    """The owner keys of a receive code whose enrolments verify."""
    kind, payload = code_payload(text)
    need(kind == 1, "a code for something else")
    network, clinic, name, _, _, enrolments, reference = shape(unpack(payload), "hktuh*b")
    need(1 <= len(name) <= 64 and name.isprintable() and 1 <= len(enrolments) <= 20, "no such code")
    need(len(reference) == 16, "a reference of another length")
    terms = []
    for body, signature in (shape(item, "bs") for item in enrolments):
        terms.append(shape(unpack(body), "kkhxu"))
        need(terms[-1][0] == clinic, "an enrolment for another clinic")
        check_signature(terms[-1][1], "enrolment", network, body, signature)
    for at in (1, 2, 3):
        need(len({item[at] for item in terms}) == len(terms), "a key twice")
    return [item[1] for item in terms]


def proven(root: bytes, key: bytes, value: bytes | None, proof: Any) -> None:
    """Returns where the map under `root` has `value` at `key`, or nothing where it is None."""
    siblings, other = shape(proof, "l*")
    need(len(siblings) <= 256, "a proof too long")
    if value is not None:
        need(other is None, "a leaf beside the leaf")
        node = hashlib.sha256(b"\0" + key + hashlib.sha256(value).digest()).digest()
    elif other is None:
        node = bytes(32)
    else:
        place, hashed = shape(other, "hb")
        differ = (int.from_bytes(place, "big") ^ int.from_bytes(key, "big")).bit_length()
        need(0 < differ <= 256 - len(siblings), "a leaf of another place")
        node = hashlib.sha256(b"\0" + place + hashed).digest()
    for depth in reversed(range(len(siblings))):
        sibling = siblings[depth]
        need(isinstance(sibling, bytes) and sibling != bytes(32), "an empty sibling in another form")
        sibling, right = sibling or bytes(32), key[depth >> 3] >> 7 - (depth & 7) & 1
        node = hashlib.sha256(b"\1" + (sibling + node if right else node + sibling)).digest()
    need(node == root, "another root")
