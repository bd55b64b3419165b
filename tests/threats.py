"""The network's threats, what holds each off, and the tests that show it: one row for each.

The rows are those of the threat table that concern the network, and the inputs that a node must withstand.
`tests/tidy/test_threats.py` keeps the names of limits and tests true.
"""

from dataclasses import dataclass
from typing import Final

GUARDS: Final = "contract/test_libp2p_guards.py::"
OFFENDERS: Final = "contract/test_libp2p_offenders.py::"
LINKS: Final = "contract/test_libp2p_links.py::"
CLINIC: Final = "e2e/test_hostile_clinic.py::"
FLOODS: Final = "e2e/test_hostile_floods.py::"
MESSAGES: Final = "e2e/test_hostile_messages.py::"
MEMBER: Final = "sim/test_hostile_member.py::"


@dataclass(frozen=True)
class Threat:
    """`limits` are names in `protocol.limits`, `tests` are below `tests/`."""

    name: str
    what: str
    control: str
    limits: tuple[str, ...]
    tests: tuple[str, ...]


THREATS: Final = (
    Threat(
        "T-PB",
        "malformed frames at any layer, from a stranger and from a member",
        "one guard around every inbound stream; an offence each, and too many keep the peer out",
        ("OFFENCES_MAX", "OFFENCE_WINDOW_MS", "BLOCK_MS", "MEMBER_BLOCK_MS", "OFFENDERS_MAX"),
        (
            CLINIC + "test_no_frame_makes_a_service_fail",
            CLINIC + "test_malformed_gossip_costs_a_member_its_connection",
            CLINIC + "test_spoiled_gossip_keeps_its_member_out_before_twenty_connections",
            CLINIC + "test_spoiled_requests_make_no_service_fail",
            "fuzz/test_gossip.py::test_a_hundred_thousand_spoiled_messages_of_gossip_stop_nothing",
            "fuzz/test_muxer.py::test_spoiled_frames_of_the_muxer_end_their_connection_and_nothing_else",
            CLINIC + "test_negotiation_that_is_no_text_costs_only_its_stream",
            GUARDS + "test_a_senseless_answer_to_a_stream_of_ours_fails_that_request_only",
            OFFENDERS + "test_a_stranger_that_offends_too_often_is_kept_out_until_it_is_forgiven",
        ),
    ),
    Threat(
        "T-HND",
        "a handler that raises",
        "the same guard: a peer's mistake is the peer's, and our own stops the node",
        (),
        (
            GUARDS + "test_a_raising_handler_costs_its_peer_the_connection",
            GUARDS + "test_our_own_bug_in_a_handler_stops_the_node",
        ),
    ),
    Threat(
        "T-PRE",
        "frames of a gibibyte before authentication, on many connections",
        "a line of negotiation is judged by its announced length",
        ("NEGOTIATION_LINE_BYTES_MAX",),
        (
            FLOODS + "test_many_connections_with_endless_lines_take_no_memory",
            GUARDS + "test_a_negotiation_line_is_judged_by_its_length_alone",
            CLINIC + "test_bytes_from_nobody_cost_only_their_connection",
        ),
    ),
    Threat(
        "T-BIG",
        "over-size frames after authentication",
        "a cap for each message, judged before the body is read",
        ("CONTROL_FRAME_BYTES_MAX", "CONSENSUS_FRAME_BYTES_MAX", "GOSSIP_BYTES_MAX"),
        (
            CLINIC + "test_no_frame_makes_a_service_fail",
            FLOODS + "test_gossip_of_over_long_messages_is_cut_off",
            "fuzz/test_streams.py::test_a_frame_over_its_limit_is_refused_before_its_body_is_read",
        ),
    ),
    Threat(
        "T-SLOW",
        "half-open connections, handshakes a byte at a time, slow writers and readers",
        "places for handshakes of which the oldest gives way; deadlines for a frame once it has begun",
        (
            "HANDSHAKES_MAX",
            "HANDSHAKES_PER_ADDRESS_MAX",
            "HANDSHAKE_SAFE_S",
            "IDLE_READ_S",
            "MUXER_FRAME_S",
            "WRITE_S",
            "SERVES_MAX",
            "SERVES_PER_PEER_MAX",
        ),
        (
            FLOODS + "test_hundreds_of_half_open_connections_leave_the_door_open",
            FLOODS + "test_who_is_slow_on_purpose_is_dropped",
            OFFENDERS + "test_half_open_connections_of_many_addresses_do_not_shut_the_door",
            OFFENDERS + "test_whoever_holds_up_a_frame_is_dropped",
            OFFENDERS + "test_whoever_drips_a_frame_of_the_muxer_is_dropped",
            OFFENDERS + "test_whoever_asks_for_much_and_reads_nothing_is_dropped",
            OFFENDERS + "test_a_slow_reader_that_reads_is_served",
            "unit/test_places.py::test_one_holder_cannot_take_all_places",
        ),
    ),
    Threat(
        "T-CONN",
        "floods of connections",
        "a rate and a number of connections for each address; room that strangers cannot take",
        (
            "CONNECTIONS_MAX",
            "CONNECTIONS_PER_ADDRESS_MAX",
            "HANDSHAKES_PER_ADDRESS_PER_S",
            "HANDSHAKES_PER_ADDRESS_BURST",
        ),
        (
            FLOODS + "test_a_thousand_connections_keep_no_member_out",
            CLINIC + "test_more_connections_than_there_is_room_for_come_and_go",
            LINKS + "test_strangers_leave_room_for_members",
            OFFENDERS + "test_an_address_that_connects_too_often_is_named_and_held_to_its_rate",
            OFFENDERS + "test_the_strangers_of_one_address_have_so_many_connections",
        ),
    ),
    Threat(
        "T-STR",
        "floods of streams and pings, overrun windows, junk in the muxer, bytes that nobody reads",
        "windows are enforced; what waits unread is counted for each peer and for all strangers",
        (
            "STREAMS_PER_PEER_MAX",
            "STRANGER_STREAMS_MAX",
            "REFUSED_STREAMS_PER_S",
            "REFUSED_STREAMS_BURST",
            "MUXER_PINGS_PER_S",
            "MUXER_PINGS_BURST",
            "STRANGER_WINDOW_BYTES",
            "STRANGER_BUFFER_BYTES_MAX",
            "STRANGERS_BUFFER_BYTES_MAX",
            "PEER_BUFFER_BYTES_MAX",
            "MEMBER_REQUESTS_PER_S",
            "STRANGER_REQUESTS_PER_S",
        ),
        (
            FLOODS + "test_a_flood_in_the_muxer_is_cut_off",
            FLOODS + "test_junk_in_the_muxer_costs_only_its_connection",
            FLOODS + "test_what_many_strangers_park_here_is_bounded",
            OFFENDERS + "test_whoever_overruns_the_window_of_one_stream_is_cut_off_at_once",
            OFFENDERS + "test_what_a_stranger_sends_and_nobody_reads_is_bounded_over_all_its_streams",
            OFFENDERS + "test_what_all_strangers_send_and_nobody_reads_is_bounded_together",
            OFFENDERS + "test_halves_of_frames_count_as_unread",
            LINKS + "test_a_stranger_over_its_budget_of_requests_is_dropped",
        ),
    ),
    Threat(
        "T-STRANGER",
        "a stranger on what is for members",
        "protocols are offered by standing, which is judged as soon as the identity is proved",
        (),
        (
            MESSAGES + "test_a_stranger_hears_not_one_byte_on_what_is_for_members",
            GUARDS + "test_strangers_do_not_gossip_and_are_not_told",
            LINKS + "test_a_member_that_is_struck_off_is_a_stranger_from_then_on",
        ),
    ),
    Threat(
        "T-PLAIN",
        "impersonation by plaintext, or by any other way than Noise",
        "one way of securing a connection, one muxer, and an identity that must be the one dialled",
        (),
        (
            CLINIC + "test_no_other_way_of_securing_a_connection_is_taken",
            LINKS + "test_a_peer_under_another_identity_than_expected_is_not_connected",
        ),
    ),
    Threat(
        "T-FORGE",
        "forged and cross-network signatures, forged authors",
        "every signature covers the network; who sends one that does not verify is dropped",
        (),
        (
            MESSAGES + "test_no_forged_transaction_is_taken_from_anyone",
            MESSAGES + "test_statements_of_validators_are_not_forged",
            MESSAGES + "test_gossip_in_another_members_name_is_not_listened_to",
            OFFENDERS + "test_whoever_passes_on_what_its_author_did_not_sign_is_dropped",
            "unit/test_consensus.py::"
            "test_a_signature_that_does_not_verify_is_told_of_its_bearer_and_an_old_one_is_not",
        ),
    ),
    Threat(
        "T-SPAM",
        "valid gossip and valid or rejected transactions, as many as there may be",
        "quotas for each member in gossip and transactions, shares of the inbox, blocks filled in turn",
        (
            "GOSSIP_PER_PEER_PER_S",
            "GOSSIP_PER_PEER_BURST",
            "GOSSIP_EXCESS_MAX",
            "GOSSIP_BYTES_PER_PEER_PER_S",
            "GOSSIP_BYTES_PER_PEER_BURST",
            "GOSSIP_EXCESS_BYTES_MAX",
            "GOSSIP_EXCESS_BYTES_PER_S",
            "FORWARDED_PER_MEMBER_PER_S",
            "FORWARDED_BURST",
            "INBOX_MESSAGES_MAX",
            "INBOX_BYTES_MAX",
            "INBOX_TURN_MAX",
            "MEMPOOL_PER_SENDER_MAX",
            "REJECTED_PER_BLOCK_MAX",
            "SWEEP_MAX",
        ),
        (
            FLOODS + "test_valid_spam_of_a_member_is_dropped_and_then_the_member",
            FLOODS + "test_the_largest_gossip_of_a_member_takes_no_memory_and_costs_it_its_connection",
            OFFENDERS + "test_bytes_over_the_quota_are_dropped_and_then_their_sender",
            MESSAGES + "test_junk_within_its_quota_is_only_work",
            MESSAGES + "test_a_member_that_fills_every_block_holds_nobody_up",
            MEMBER + "test_a_member_that_passes_on_more_than_anyone_could_sign_is_dropped",
            MEMBER + "test_what_the_ledger_would_not_take_is_not_spread_for_strangers",
            "unit/test_inbox.py::test_who_sends_much_loses_its_own_messages_and_nobody_elses",
            "unit/test_mempool.py::test_who_sent_much_holds_up_nobody_who_sent_little",
            "unit/test_tree.py::test_sweeping_looks_at_so_many_and_goes_on_the_next_time",
            "unit/test_chain.py::test_junk_before_good_ones_is_looked_at_so_long_and_no_longer",
        ),
    ),
    Threat(
        "T-BURST",
        "an honest burst that is taken for spam",
        "quotas with bursts that no honest member passes",
        ("GOSSIP_PER_PEER_BURST",),
        (
            MESSAGES + "test_an_honest_burst_is_all_final_soon",
            OFFENDERS + "test_an_honest_burst_is_not_taken_for_spam",
        ),
    ),
    Threat(
        "T-REPLAY",
        "messages played again, also when no cache remembers them",
        "ids are hashes of contents, and to the ledger nothing is new twice",
        ("GOSSIP_SEEN_S",),
        (
            MESSAGES + "test_what_is_played_again_changes_nothing",
            OFFENDERS + "test_a_message_played_again_and_again_is_delivered_once",
        ),
    ),
    Threat(
        "T-SEQ",
        "numbers of messages used again after a restart",
        "numbers begin at the clock's nanoseconds",
        (),
        (
            LINKS + "test_whoever_restarts_is_back_and_is_heard_again",
            GUARDS + "test_a_member_that_comes_back_before_it_was_missed_still_hears_the_gossip",
        ),
    ),
    Threat(
        "T-TOPIC",
        "fake topics, and tens of thousands of subscriptions",
        "known topics only; what a peer says beside messages is counted and judged first",
        ("GOSSIP_CONTROLS_PER_S", "GOSSIP_CONTROLS_BURST"),
        (
            FLOODS + "test_a_flood_of_requests_in_gossip_is_cut_off",
            CLINIC + "test_gossip_that_proves_nothing_is_dropped",
        ),
    ),
    Threat(
        "T-IHAVE",
        "floods of announcements and requests in gossip",
        "so many names at once, and so many such messages",
        ("GOSSIP_NAMES_MAX", "GOSSIP_CONTROLS_BURST"),
        (
            FLOODS + "test_a_flood_of_requests_in_gossip_is_cut_off",
            OFFENDERS + "test_a_flood_beside_the_messages_costs_the_member_its_connection",
        ),
    ),
    Threat(
        "T-CODEC",
        "bombs for decoders: nesting, lengths that lie, forms that are not canonical",
        "typed structures, a size first, and what is encoded anew must be equal",
        (),
        (
            "fuzz/test_doors.py::test_a_storm_of_spoiled_bytes_gets_past_no_door",
            "fuzz/test_doors.py::test_a_length_that_lies_reserves_nothing",
            "property/test_codec.py::test_nesting_without_end_is_malformed_and_not_a_crash",
            CLINIC + "test_no_frame_makes_a_service_fail",
        ),
    ),
    Threat(
        "T-ECL",
        "peers that lie, drip or withhold while a node catches up, or a light client follows",
        "several peers are asked, and one that gives nothing is left",
        (),
        (
            "sim/test_catchup.py::test_a_bad_peer_is_left_and_the_rest_comes_from_others",
            "sim/test_light.py::test_a_lying_clinic_is_not_believed_and_another_is_asked",
            MEMBER + "test_a_final_block_passed_on_without_its_sealed_bytes_is_not_taken",
        ),
    ),
    Threat(
        "T-ORACLE",
        "refusals that tell why, by their bytes or their time",
        "one refusal, sent at one time after its request",
        ("REFUSAL_MS",),
        (
            "unit/test_refusals.py::"
            "test_every_refusal_is_the_same_bytes_after_the_same_time_and_only_the_log_knows_why",
        ),
    ),
    Threat(
        "T-EQUIV",
        "a member that contradicts itself",
        "both statements are kept as evidence, which anyone can verify",
        (),
        (
            "sim/test_traitors.py::test_evidence_names_the_validator_that_contradicted_itself",
            "unit/test_evidence.py::test_a_contradiction_convicts_whoever_reads_it",
        ),
    ),
    Threat(
        "T-LOG",
        "logs filled or forged from outside",
        "reasons in our own words, in plain characters; what a flood writes is bounded",
        (),
        (
            FLOODS + "test_valid_spam_of_a_member_is_dropped_and_then_the_member",
            "unit/test_offenders.py::test_a_reason_is_short_and_plain",
            "unit/test_logs.py::test_lines_are_json_with_a_time_in_utc",
        ),
    ),
)
