"""Every key of every database, as pure functions: the one place where prefixes are given out.

Numbers are big-endian, so that key order is number order. Each prefix ends in `/` and none begins
another. The ledger, the blobs and the audit log are separate databases; their prefixes differ all the
same, so that a key tells what it is wherever it is seen.
"""

from protocol.errors import Code, UserError

SCHEMA = 3  # raised when a key or a value changes its meaning

# Ledger database.
STATE = b"state/"
BLOCK = b"block/"
HEADER = b"header/"
FINALITY = b"finality/"
OPENING = b"opening/"
ROSTER = b"roster/"
MEMBERS = b"members/"
BLOCK_HEIGHT = b"height/"
TRANSACTION = b"transaction/"
SEALED = b"sealed/"
OWED = b"owed/"
PENDING = b"pending/"
DENIED = b"denied/"
HEAD = b"head/"
CANDIDATE = b"candidate/"
CANDIDATE_CERTIFICATE = b"candidate-certificate/"
SIGNED = b"signed/"
SUSPENDED = b"suspended/"
CHANGE = b"change/"
EVIDENCE = b"evidence/"
TWO_CHAINS = b"two-chains/"
PAST_END = b"past-end/"
ENDED = b"ended/"
INVITED = b"invited/"

# Audit database.
AUDIT = b"audit/"
AUDIT_TOKEN = b"audit-token/"

# Blob database.
CHUNK = b"chunk/"
LEAF = b"leaf/"
BLOB = b"blob/"
IMPORT = b"import/"

# What a node knows for itself, in the ledger database: grants found on the ledger, records this clinic
# issued, what it asked patients for, a wallet's records, names that stay local.
TOKEN_GRANT = b"token-grant/"
HELD_GRANT = b"held-grant/"
HELD_GRANT_TOKEN = b"held-grant-token/"
GRANTS_HEIGHT = b"grants-height/"
ISSUED = b"issued/"
ISSUED_KEY = b"issued-key/"
ASKED = b"asked/"
ASKED_KEY = b"asked-key/"
WALLET = b"wallet/"
LOCAL_NAME = b"name/"
PATIENT = b"patient/"

# In every database: the count and rolling hash of a counted prefix.
COUNTED = b"counted/"

_HEIGHT_BYTES = 8
_INDEX_BYTES = 4


def check_version(what: str, written: int, known: int) -> None:
    """Raises UserError where `what` was `written` in another version than `known`: nothing is converted."""
    if written > known:
        raise UserError(
            f"{what} was written by a newer version of chartmesh",
            "install that version again",
            code=Code.STORE_NEWER,
        )
    if written < known:
        raise UserError(
            f"{what} was written by an earlier version of chartmesh, and this one reads it otherwise",
            "install that version again, or begin anew with another data directory",
            code=Code.STORE_OLDER,
        )


def after(prefix: bytes) -> bytes | None:
    """The smallest key above all keys that begin with `prefix`, or None where there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,)) if trimmed else None


def state(key: bytes) -> bytes:
    """A leaf of the ledger state, by its 32-byte key in the state map."""
    return STATE + key


def block(height: int) -> bytes:
    """The final block of a height."""
    return BLOCK + _height(height)


def header(height: int) -> bytes:
    """The final header of a height."""
    return HEADER + _height(height)


def finality(height: int) -> bytes:
    """What shows that the block of a height is final, where it was finalized itself."""
    return FINALITY + _height(height)


def opening(epoch: int) -> bytes:
    """What shows the committee of an epoch to whoever holds the header that closed the one before."""
    return OPENING + _height(epoch)


def roster() -> bytes:
    """The roster of the open epoch, at a light client."""
    return ROSTER


def members() -> bytes:
    """The members that were proven last, at a light client."""
    return MEMBERS


def block_height(block_hash: bytes) -> bytes:
    """The height of a final block, 8 bytes big-endian, by its hash."""
    return BLOCK_HEIGHT + block_hash


def transaction(transaction_id: bytes) -> bytes:
    """The position of a final transaction (see `position`)."""
    return TRANSACTION + transaction_id


def position(height: int, index: int) -> bytes:
    """The value under `transaction`: the height of its block and its index there."""
    return _height(height) + index.to_bytes(_INDEX_BYTES, "big")


def read_position(value: bytes) -> tuple[int, int]:
    """The height and index of a `position`."""
    return read_height(value[:_HEIGHT_BYTES]), int.from_bytes(value[_HEIGHT_BYTES:], "big")


def read_height(value: bytes) -> int:
    """The number of 8 bytes big-endian, as at the end of `block` or `finality` keys."""
    return int.from_bytes(value, "big")


def sealed(token: bytes, sealed_hash: bytes = b"") -> bytes:
    """Detached sealed bytes, by token and hash; without a hash, the prefix of all of a token's."""
    return SEALED + token + sealed_hash


def owed(token: bytes, grant: bytes = b"") -> bytes:
    """Sealed bytes of a grant that this node lacks; without a grant, those of the token itself, and the
    prefix of all of a token's."""
    return OWED + token + grant


def pending(transaction_id: bytes) -> bytes:
    """A transaction that was accepted and is not final yet."""
    return PENDING + transaction_id


def denied(token: bytes, grant: bytes) -> bytes:
    """A revocation that counts from sight on, final or not."""
    return DENIED + token + grant


def head() -> bytes:
    """The pointer to the newest final block."""
    return HEAD


def candidate(block_hash: bytes) -> bytes:
    """A block that this node voted for and that is not final yet."""
    return CANDIDATE + block_hash


def candidate_certificate(view: int, phase: int) -> bytes:
    """A certificate above the newest final block that something this node signed rests on."""
    return CANDIDATE_CERTIFICATE + _height(view) + bytes((phase,))


def signed() -> bytes:
    """The vote record before the newest: a vote file that is behind it was rolled back."""
    return SIGNED


def suspended(member: bytes) -> bytes:
    """A member whose suspension counts from sight on, final or not."""
    return SUSPENDED + member


def change(name: bytes) -> bytes:
    """A change of the membership that waits for approvals."""
    return CHANGE + name


def evidence(vote_key: bytes) -> bytes:
    """What convicts the holder of a vote key."""
    return EVIDENCE + vote_key


def two_chains() -> bytes:
    """The proof of two valid chains, for which this node stopped."""
    return TWO_CHAINS


def past_end() -> bytes:
    """The proof of an epoch that was closed and went on, for which a light client stopped."""
    return PAST_END


def ended() -> bytes:
    """How this clinic's membership ended, where only strangers told it."""
    return ENDED


def invited(invitation: bytes) -> bytes:
    """The clinic that used an invitation of this node, by the invitation's id, with its expiry."""
    return INVITED + invitation


def audit(sequence: int) -> bytes:
    """An audit record, by its place in the chain."""
    return AUDIT + _height(sequence)


def audit_token(token: bytes, sequence: int) -> bytes:
    """An entry of the index from tokens to audit records; the value is empty."""
    return AUDIT_TOKEN + token + _height(sequence)


def audit_tokens(token: bytes) -> bytes:
    """The prefix of all entries of that index for one token."""
    return AUDIT_TOKEN + token


def read_audit_sequence(key: bytes) -> int:
    """The place in the chain that an `audit_token` key leads to."""
    return read_height(key[-_HEIGHT_BYTES:])


def chunk(blob_id: bytes, index: int) -> bytes:
    """A ciphertext chunk, by the blob's local id and index: a blob's chunks lie side by side, in order."""
    return CHUNK + blob_id + index.to_bytes(_INDEX_BYTES, "big")


def leaf(blob_id: bytes, index: int) -> bytes:
    """The leaf hash of a chunk, in the same batch as the chunk."""
    return LEAF + blob_id + index.to_bytes(_INDEX_BYTES, "big")


def leaves(blob_id: bytes) -> bytes:
    """The prefix of all leaf hashes of a blob."""
    return LEAF + blob_id


def blob(issuer: bytes, root: bytes) -> bytes:
    """What is known of a blob held here, by its issuer and content root."""
    return BLOB + issuer + root


def importing(blob_id: bytes) -> bytes:
    """A blob whose chunks belong to nothing (yet); the value is how many there may be."""
    return IMPORT + blob_id


def token_grant(token: bytes, grant: bytes = b"") -> bytes:
    """A grant registered for a token; without a grant, the prefix of all of a token's."""
    return TOKEN_GRANT + token + grant


def held_grant(grant: bytes) -> bytes:
    """A grant given to this node."""
    return HELD_GRANT + grant


def held_grant_token(token: bytes, grant: bytes = b"") -> bytes:
    """An entry of the index from tokens to grants given to this node; the value is empty."""
    return HELD_GRANT_TOKEN + token + grant


def grants_height() -> bytes:
    """The height up to which final blocks were searched for grants."""
    return GRANTS_HEIGHT


def issued(token: bytes) -> bytes:
    """What this clinic keeps of a record that it issued."""
    return ISSUED + token


def issued_key(owner_key: bytes) -> bytes:
    """The token that this clinic minted, or is minting, to a one-time owner key."""
    return ISSUED_KEY + owner_key


def asked(request: bytes) -> bytes:
    """An access request that this clinic made."""
    return ASKED + request


def asked_key(owner_key: bytes, request: bytes = b"") -> bytes:
    """An entry of the index from owner keys to the access requests made to them; the value is empty."""
    return ASKED_KEY + owner_key + request


def wallet(name: bytes) -> bytes:
    """An entry of the wallet's own records."""
    return WALLET + name


def local_name(name: str) -> bytes:
    """What a local name stands for; local names never leave the node."""
    return LOCAL_NAME + name.encode()


def patient(name: bytes) -> bytes:
    """A patient of this clinic, by the hash of her reference."""
    return PATIENT + name


def counted(prefix: bytes) -> bytes:
    """The count and rolling hash of the entries under `prefix`."""
    return COUNTED + prefix


def _height(number: int) -> bytes:
    return number.to_bytes(_HEIGHT_BYTES, "big")
