"""Every limit by name, with its unit. A limit that binds all members is in the genesis file too."""

from protocol.codec import Wire

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
SECOND_MS = 1_000
MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS

# Transactions and blocks.
TRANSACTION_BYTES_MAX = 16 * KIB
SEALED_BYTES_MAX = 6 * KIB
BLOCK_BYTES_MAX = 192 * KIB
BLOCK_BYTES_MIN = 32 * KIB  # room for any one transaction and its sealed bytes
BLOCK_TRANSACTIONS_MAX = 512
KEEP_GRANTS_MAX = 64
GRANTS_PER_TOKEN_MAX = 4096
EARLY_REVOKES_PER_MEMBER_MAX = 4096
EARLY_REVOKES_PER_TOKEN_MAX = 256
MEMPOOL_TRANSACTIONS_MAX = 20_000
MEMPOOL_PER_SENDER_MAX = 8_000
AUDIT_HEAD_INTERVAL_MS = HOUR_MS
STATE_ENTRY_BYTES_MAX = 16 * KIB  # the roster of MEMBERS_MAX members, all with a vote, is under 8 KiB
SWEEP_MAX = 512  # pending transactions looked at again in one turn of consensus
REJECTED_PER_BLOCK_MAX = 1_024  # that a proposer looks at in vain before it makes do with what it has

# Wire frames, in bytes.
NEGOTIATION_LINE_BYTES_MAX = 1 * KIB
CONTROL_FRAME_BYTES_MAX = 64 * KIB
CONTROL_REQUEST_BYTES_MAX = 512 * KIB
CONTROL_REPLY_BYTES_MAX = 16 * MIB
GOSSIP_BYTES_MAX = 256 * KIB
CONSENSUS_FRAME_BYTES_MAX = 320 * KIB
BLOCKS_REPLY_BYTES_MAX = 2 * MIB
CHUNK_FRAME_BYTES_MAX = 264 * KIB
FETCH_REQUEST_BYTES_MAX = 4 * KIB
LIGHT_REPLY_BYTES_MAX = 512 * KIB
AUDIT_REPLY_BYTES_MAX = 512 * KIB
MEMBERS_FRAME_BYTES_MAX = 64 * KIB
PROOF_BYTES_MAX = LIGHT_REPLY_BYTES_MAX
EXPORT_PIECE_BYTES = MIB  # of a record's content, in one section of an export
EXPORT_SECTION_BYTES_MAX = 32 * MIB  # the audit entries of one clinic about some records
CLAIMS_MAX = 64  # in one proof of state
GRANTS_REPLY_MAX = 64  # looked at for one reply to an owner
ROUTE_EPOCHS_MAX = 24  # in one reply: of the largest committees, about 10 KiB each

# Catch-up by height.
RANGE_BLOCKS_MAX = 256  # in one reply
RANGE_BYTES_TARGET = MIB  # of one reply: it ends with the first block that reaches it
CATCH_UP_RANGES_MAX = 8  # asked for, or arrived and waiting for what comes before
CATCH_UP_PEERS_MAX = 4  # asked at the same time
CATCH_UP_OVERTAKE_MS = 1_500  # for the reply that all wait for, before another is asked too
CATCH_UP_PATIENCE = 4  # times the quickest peer's last reply, where that is longer
CATCH_UP_AVOID_MS = 60_000  # for a peer that failed or was overtaken, where others can help
CATCH_UP_RETRY_MS = 1_000  # where they cannot

SEALED_ASKED_MAX = 64  # in one request for sealed bytes that blocks came without
OWED_PAUSE_S = 5.0  # at least, between two rounds of such requests
OWED_PAUSE_S_MAX = 300.0  # where the last rounds brought nothing
OWED_VISIT_S = 30.0  # with one member, in one round

# Committee.
MEMBERS_MAX = 64
NAME_CHARS_MAX = 64
ADDRESSES_MAX = 8
ADDRESS_CHARS_MAX = 256
INVITATION_LIFE_MS = 7 * DAY_MS  # of an invitation, unless its maker says otherwise
INVITATION_LIFE_MS_MAX = 90 * DAY_MS
CHANGE_LIFE_MS = 7 * DAY_MS  # at least, of a change of the membership that waits for approvals
CHANGE_BYTES_MAX = 8 * KIB  # of the body of such a change: the card in it is the most
CHANGES_PER_SPONSOR_MAX = 8  # that one member may have waiting at the same time
SOFTWARE_CHARS_MAX = 32

# Records.
CHUNK_BYTES = 256 * KIB  # ciphertext of one chunk, tag included
PIECE_BYTES = CHUNK_BYTES - 16  # plaintext of one chunk: the rest is its tag
RECORD_BYTES_MAX = 64 * GIB
TITLE_CHARS_MAX = 200
FILE_NAME_CHARS_MAX = 255
WORD_CHARS_MAX = 32  # a code or other single word in a grant, a label or a request
USER_CHARS_MAX = 128
PURPOSES_MAX = 8
ACTIONS_MAX = 4
SCOPE_ITEMS_MAX = 16
OBLIGATIONS_MAX = 16
GRANT_BODY_BYTES_MAX = 2 * KIB
GRANT_LIFE_MS_MAX = 400 * DAY_MS
MAX_STALE_S_MAX = 24 * 3600
ENROLMENTS_PER_CODE_MAX = 20
STUDY_FILES_MAX = 10_000  # in one record
STUDY_INDEX_BYTES_MAX = 4 * MIB
STUDY_PATH_CHARS_MAX = 255
STUDY_DEPTH_MAX = 16  # folders in a path, the file included
DICOM_WORD_CHARS_MAX = 64  # of a unique identifier (DICOM PS3.5, section 9), or a modality
CODE_BYTES_MAX = 8 * KIB  # of a code that people scan or paste, before its text form
ARMOUR_BYTES_MAX = 128 * KIB  # of a file in text armour, before its text form
ENROLMENT_LIFE_MS_MAX = 366 * DAY_MS
HOLDERS = 3  # k: the issuing clinic and the best k - 1 others

# A patient's wallet.
PERSONS_MAX = 32  # whose records one wallet holds; from the words alone, as many are looked for
DEVICES_MAX = 64  # hot masters that one set of words has given; each phone that is lost takes one
KEY_GAP_MAX = 512  # unused indices in a row after which the search for a patient's keys ends
KEY_SKIP = 128  # indices that a device leaves out after a restore: the lost one may have given them away
LOOKUP_CLINICS_MAX = 2  # asked about one key, where all is well
PROVISIONS_MAX = 64  # of one wallet
PROVISION_NAME_BYTES = 16
PROVISIONS_LOOK_S = 60.0  # between two looks for records that a provision covers
PROVISION_RETRY_MS = 10 * MINUTE_MS  # until a grant that no clinic took is signed again
RECORDS_LOOKED_AFTER = 8  # of those known, looked up again each time: another device may have changed them

# What clinics ask patients for.
REQUEST_BYTES_MAX = 2 * KIB  # of the body of an access request
REQUEST_TOKENS_MAX = 16  # records that one names
REQUEST_LIFE_MS = 14 * DAY_MS  # that one stands, unless its maker says otherwise
REQUEST_LIFE_MS_MAX = 90 * DAY_MS
REQUESTS_WAITING_MAX = 1_024  # of one clinic, not answered and not lapsed
REQUESTS_PER_KEY_MAX = 8  # of those, to the holder of one key
REQUESTS_REPLY_MAX = 64  # told in one reply
REQUESTS_PER_ASKER_MAX = 32  # of one clinic, that wait on a patient's device: the rest is not taken
RETENTION_MS_MAX = 50 * 366 * DAY_MS  # that an issuer may ask that a record be kept
REQUEST_KEPT_MS = 30 * DAY_MS  # that a clinic still lists one which lapsed
EXPIRING_MS = 7 * DAY_MS  # before its end a grant is said to run out

# The program that looks into records: of one run, and of one record.
PARSER_BYTES_MAX = GIB  # of memory, all that is mapped
PARSER_CPU_S = 60  # of processor time, for each file
PARSER_FILES_MAX = 64
FHIR_CHECK_BYTES_MAX = 32 * MIB  # of one JSON document; of a line, in NDJSON
HL7V2_CHECK_BYTES_MAX = 64 * MIB
MARKUP_DEPTH_MAX = 256
LOOK_BYTES_MAX = 32 * MIB  # of a record that is read out or drawn
LOOKS_MAX = 2  # at the same time
LOOK_S = 90.0
STUDY_PICTURES_SHOWN = 8  # on one page
STUDY_IMAGES_LISTED = 200  # by name, on one page
PICTURE_PIXELS_MAX = 32 * 1024 * 1024
PICTURE_SIDE_MAX = 1024  # of the picture of an image, in pixels
PICTURE_BYTES_MAX = 4 * MIB
NARRATIVE_SECTIONS_MAX = 200
NARRATIVE_CHARS_MAX = 200_000

# Blobs on their way, and what is written down about them.
RUN_CHUNKS = 8  # handed to a thread, or read ahead, at once: 2 MiB
SYNC_BYTES = 16 * MIB  # of ciphertext, at most, that a power cut may take back
SERVES_MAX = 32  # fetches served at the same time
SERVES_PER_PEER_MAX = 8  # to one peer, which may read as slowly as it likes
PACED_WAIT_S = 8.0  # for what is to be read next under a request, while its place is kept
SERVE_CHECK_BYTES = 4 * MIB  # between two looks whether a running fetch is still allowed
SERVE_CHECK_S = 4.0
REFUSAL_MS = 50  # a refusal leaves this long after its request, or a multiple where the disk is slow
PUSH_S = 15.0  # for one holder to take a blob, and more at PUSH_BYTES_PER_S_MIN
PUSH_BYTES_PER_S_MIN = MIB
PUSH_ATTEMPTS = 3
COPIES_CHECK_S = 3600.0  # between two looks at all tokens for copies that should be here
COPY_RETRY_S = 10.0  # before a copy that nobody gave is asked for again; doubled each time, up to the above
COPY_PAUSE_S = 0.2  # after a copy that nobody gave: those that can be had are not held up much
COPIES_WANTED_MAX = 4096  # copies remembered as missing; the next look at all tokens finds the others
CHALLENGE_S = 30.0  # between two looks whether others have what they should hold
VERIFY_LOOKS = 8  # chunks that each other holder shows when a record is verified
CHALLENGE_STEPS_MAX = 256  # transactions looked through to find a record to ask about
CHALLENGE_FAILURES_MAX = 256  # remembered of one holder
UNOWNED_LOOKS = 24  # at all tokens, after which ciphertext that none of them is about goes
TREES_MAX = 4  # hash trees of blobs kept in memory
DENIAL_WINDOW_S = 60.0  # denials of one asker beyond DENIALS_PER_WINDOW in it are counted, not kept
DENIALS_PER_WINDOW = 256
DENIAL_TOKENS_MAX = 256

# Deadlines, in seconds.
FINAL_S = 10.0  # for a new record to become final, before its clinic is told that it is not yet
CONNECT_S = 5.0
STREAM_OPEN_S = 5.0
IDLE_READ_S = 15.0
MUXER_FRAME_S = 6.0  # for the body of a frame; a peer that is slower answers no ping in time either
WRITE_S = 15.0
FETCH_PATIENCE_S = 5.0  # with a holder, before it must have brought chunks at the rate below
FETCH_BYTES_PER_S_MIN = MIB  # where another holder may be faster
FETCH_SOURCES_MAX = 3  # asked at the same time for one record
FETCH_ALONE_CHUNKS_MAX = 64  # 16 MiB: what is longer comes from several holders
SPAN_CHUNKS = 16  # asked of one holder at once: 4 MiB
SPANS_MAX = 8  # under way at the same time, and so the most that waits for what comes before it: 32 MiB
SPANS_AHEAD = 2  # asked of one holder before the first has come
FETCH_STALL_S = 2.0  # the longest that all other holders wait for one
REQUEST_S = 10.0
WITNESSES_MAX = 6  # clinics whose way to the newest header is compared with the one to be taken
WITNESS_S = 3.0  # for them to show it
LOST_S = 20.0  # without a new final block, before a stale clinic asks whether it is a member still
LOST_ASK_S = 30.0
LOST_AGAIN_S = 60.0
ROLL_S = 300.0  # after which a light client asks again who is a member
SHUTDOWN_GRACE_S = 5.0

# Budgets per connected peer.
STREAMS_PER_PEER_MAX = 64
STRANGER_STREAMS_MAX = 8
STRANGER_REQUESTS_PER_S = 20
STRANGER_REQUESTS_BURST = 40
PEER_BUFFER_BYTES_MAX = 32 * MIB
STRANGER_BUFFER_BYTES_MAX = MIB  # of one stranger, arrived and not yet read or not yet a whole frame
STRANGERS_BUFFER_BYTES_MAX = 16 * MIB  # of all strangers together
STRANGER_WINDOW_BYTES = 256 * KIB  # of one stream: a stranger's requests are short
MEMBER_REQUESTS_PER_S = 4_000  # frames
MEMBER_REQUESTS_BURST = 16_000
REFUSED_STREAMS_PER_S = 10  # opened past the limit of a peer's streams
REFUSED_STREAMS_BURST = 256
MUXER_PINGS_PER_S = 20
MUXER_PINGS_BURST = 1_000
CONNECTIONS_MAX = 256
CONNECTIONS_PER_ADDRESS_MAX = 64  # of strangers
HANDSHAKES_MAX = 64  # connections that have not yet proved who they are
HANDSHAKES_PER_ADDRESS_MAX = 16
HANDSHAKES_PER_ADDRESS_PER_S = 10  # begun, from an address at which no member is known to be
HANDSHAKES_PER_ADDRESS_BURST = 100
HANDSHAKE_SAFE_S = 0.5  # so long a handshake keeps its place when others want it
OFFENCES_MAX = 16  # in OFFENCE_WINDOW_MS; with the next the offender is kept out
OFFENCE_WINDOW_MS = 10 * MINUTE_MS
OFFENDERS_MAX = 256  # remembered
BLOCK_MS = 10 * MINUTE_MS
MEMBER_BLOCK_MS = MINUTE_MS
INBOX_MESSAGES_MAX = 2_048  # of one sender, waiting for consensus
INBOX_BYTES_MAX = 8 * MIB
INBOX_TURN_MAX = 128  # of one sender, in one turn
FORWARDED_PER_MEMBER_PER_S = 5_000  # transactions that one member passes on
FORWARDED_BURST = 40_000
DATAGRAM_QUEUE_BYTES_MAX = 8 * MIB  # waiting for one member on one protocol
GOSSIP_QUEUE_MAX = 256  # messages of one topic waiting for their reader
GOSSIP_PER_PEER_PER_S = 100
GOSSIP_PER_PEER_BURST = 400
GOSSIP_EXCESS_MAX = 1_000  # messages over that quota, dropped, before their member is
GOSSIP_BYTES_PER_PEER_PER_S = 2 * MIB  # thrice what the busiest network says in blocks
GOSSIP_BYTES_PER_PEER_BURST = 8 * MIB
GOSSIP_EXCESS_BYTES_MAX = 16 * MIB  # the same as GOSSIP_EXCESS_MAX, in bytes
GOSSIP_EXCESS_BYTES_PER_S = 64 * KIB  # of it, forgotten
GOSSIP_SEEN_S = 120  # a message that comes again so soon is not even looked at
GOSSIP_CONTROLS_PER_S = 20  # requests, announcements and subscriptions
GOSSIP_CONTROLS_BURST = 200
GOSSIP_NAMES_MAX = 2_048  # of messages, in one gossip request or announcement
RECEIVE_WINDOW_BYTES = 2 * MIB  # of one stream, once it moves much
REDIAL_FIRST_S = 0.25
REDIAL_MOST_S = 5.0

# The control socket.
CONTROL_CONNECTIONS_MAX = 64
CONTROL_ROWS_DEFAULT = 1_000
CONTROL_ROWS_MAX = 10_000
CONTROL_NAME_CHARS_MAX = 128
PATH_CHARS_MAX = 4096
WORDS_CHARS_MAX = 4 * KIB
RECEIVE_CODE_CHARS_MAX = 32 * KIB
GENESIS_CHARS_MAX = 384 * KIB

# The page.
PAGE_CONNECTIONS_MAX = 64
PAGE_LET_IN_S = 10.0  # for a connection to show that it belongs to a session
PAGE_KEEP_ALIVE_S = 30.0
PAGE_HEAD_BYTES_MAX = 16 * KIB
PAGE_FORM_BYTES_MAX = 32 * KIB
PAGE_FORM_FIELDS_MAX = 300
PAGE_CHOICES_MAX = 256  # records to choose from one by one
PAGE_LINKS_MAX = 8
PAGE_LINK_MS = 2 * MINUTE_MS
PAGE_SESSIONS_MAX = 8
PAGE_IDLE_MS = 15 * MINUTE_MS
PAGE_SESSION_MS_MAX = 12 * HOUR_MS
FHIR_BYTES_MAX = 4 * MIB  # of a bundle that the page reads out; larger ones are downloaded
FHIR_ENTRIES_MAX = 20_000
FHIR_DEPTH_MAX = 200  # of objects and lists in one another, in a resource that is merged
FHIR_LINKS_MAX = 2_000_000  # followed to tell which resources of a record are the same as of another
FHIR_EXPORT_BYTES_MAX = 128 * MIB  # of records that are merged into one bundle
FHIR_TEXT_CHARS_MAX = 300
PAGE_MOMENT_S = 10.0  # between two looks of which the charts are made
PAGE_MOMENTS_MAX = 360
PAGE_LIVE_S = 1.0  # between two looks whether there is news
PAGE_LIVE_SIGN_S = 15.0  # between two signs of life where there is none


class NetworkLimits(Wire, frozen=True):
    """The limits that bind all members of a network; part of the genesis file. Milliseconds."""

    heartbeat_ms: int = 15_000
    tolerance_ms: int = 10_000
    max_stale_default_ms: int = 60_000
    view_timeout_ms: int = 1_000
    view_timeout_max_ms: int = 8_000
    grant_life_max_ms: int = GRANT_LIFE_MS_MAX
    block_bytes_max: int = BLOCK_BYTES_MAX
    holders: int = HOLDERS
    grants_per_token_max: int = GRANTS_PER_TOKEN_MAX  # registered in one generation
    audit_head_interval_ms: int = AUDIT_HEAD_INTERVAL_MS
    rotation_interval_ms: int = HOUR_MS  # between two vote keys of one member
