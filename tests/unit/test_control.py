"""The control contract: round trips, limits, framing, and the committed schema."""

import json
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import control, limits
from protocol.control import AnyRequest, FrameDecoder, Kind
from protocol.errors import ChartmeshError, Code, Malformed
from tests.control_samples import REQUESTS, RESULTS

SCHEMA = Path(__file__).parent.parent / "vectors" / "control-schema.json"


def schema() -> str:
    """The JSON schema of everything that crosses the control socket."""
    results = [control.Progress, control.ErrorReply, *{control.result_of(type(r)): None for r in REQUESTS}]
    tops, components = msgspec.json.schema_components([AnyRequest, *results])
    shape = {"request": tops[0], "reply": {"anyOf": list(tops[1:])}, "$defs": components}
    return json.dumps(shape, indent=1, sort_keys=True) + "\n"


def test_the_schema_is_the_committed_one() -> None:
    assert SCHEMA.read_text() == schema(), (
        "the control contract changed: fields may be added, never renamed or removed; "
        "if so, write it anew with: uv run python -m tests.unit.test_control"
    )


def test_no_request_shows_the_words_in_a_message() -> None:
    with_words = [request for request in REQUESTS if hasattr(request, "words")]
    assert len(with_words) == 6
    assert all("abandon" not in f"{request!r} {request}" for request in with_words)


def test_every_request_of_the_contract_is_tried_here() -> None:
    assert {type(request) for request in REQUESTS} == set(get_args(AnyRequest))
    assert {control.result_of(type(request)) for request in REQUESTS} == set(RESULTS)


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda one: type(one).__name__)
def test_a_request_and_its_result_survive_the_trip(request_: control.Ask[Any]) -> None:
    payload = control.encode_request(request_)
    assert len(payload) <= limits.CONTROL_REQUEST_BYTES_MAX
    assert control.decode_request(payload) == request_
    kind: type[control.Ask[Any]] = type(request_)
    result = RESULTS[control.result_of(kind)]
    document = control.encode_document(result)
    assert json.loads(document)["v"] == 1
    assert control.decode_reply(kind, document) == result


def test_progress_and_errors_answer_any_request() -> None:
    for reply in (
        control.Progress(step="sending", done=3, total=None),
        control.ErrorReply(code="refused", error="no"),
    ):
        assert control.decode_reply(control.Status, control.encode_document(reply)) == reply


def test_an_error_document_has_the_shape_that_scripts_rely_on() -> None:
    document = json.loads(control.encode_document(control.ErrorReply(code="stale", error="e", hint="h")))
    assert document == {"v": 1, "type": "error", "code": "stale", "error": "e", "hint": "h"}


def test_a_reply_with_a_field_of_a_later_version_is_still_read() -> None:
    document = json.loads(control.encode_document(RESULTS[control.StatusResult])) | {"later": [1]}
    assert (
        control.decode_reply(control.Status, json.dumps(document).encode()) == RESULTS[control.StatusResult]
    )


def test_a_reply_to_another_request_is_refused() -> None:
    with pytest.raises(Malformed):
        control.decode_reply(control.Status, control.encode_document(RESULTS[control.MyCodeResult]))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xff",
        b"[" * 100_000,
        b'{"request":"nonsense"}',
        b'{"request":"status","extra":1}',
        b'{"request":"record-show","id":"abc"}',
        b'{"request":"record-show","id":"ABCDEF"}',
        b'{"request":"record-show","id":"' + b"a" * 67 + b'"}',
        b'{"request":"record-add","name":"f","size":0,"code":"C"}',
        b'{"request":"record-add","name":"f","size":1,"code":"C","type":"exe"}',
        b'{"request":"record-get","id":"abcdef","purpose":"","user":"u"}',
        b'{"request":"record-get","id":"abcdef","purpose":"TREAT","user":""}',
        b'{"request":"my-share","records":[],"clinic":"c","for_ms":1,"purposes":["TREAT"]}',
        b'{"request":"my-share","records":["abcdef"],"clinic":"c","for_ms":0,"purposes":["TREAT"]}',
        b'{"request":"my-share","records":["abcdef"],"clinic":"c","for_ms":1,"purposes":[]}',
        b'{"request":"my-code","clinic":"c","count":21}',
        b'{"request":"my-stop"}',
        b'{"request":"network-invite","expires_ms":0}',
        b'{"request":"network-invite","expires_ms":7776000001}',
        b'{"request":"network-apply","code":"CM1","terms_hash":"ab"}',
        b'{"request":"network-suspend","member":"a","reason":"dislike"}',
        b'{"request":"network-remove","member":""}',
    ],
)
def test_a_request_outside_its_limits_is_a_usage_error(payload: bytes) -> None:
    with pytest.raises(ChartmeshError) as caught:
        control.decode_request(payload)
    assert caught.value.code is Code.USAGE
    assert caught.value.hint


def test_an_argument_that_is_no_text_is_a_usage_error() -> None:
    with pytest.raises(ChartmeshError) as caught:
        control.encode_request(control.MyCode(clinic="\udcff"))
    assert caught.value.code is Code.USAGE


@given(st.lists(st.tuples(st.sampled_from(Kind), st.binary(max_size=300)), max_size=8), st.integers(1, 64))
def test_frames_come_out_as_they_went_in_however_the_bytes_are_cut(
    sent: list[tuple[Kind, bytes]], step: int
) -> None:
    sent = [(kind, b"" if kind is Kind.END else payload) for kind, payload in sent]
    raw = b"".join(control.frame(kind, payload) for kind, payload in sent)
    decoder = FrameDecoder(json_limit=300)
    received = []
    for start in range(0, len(raw), step):
        decoder.feed(raw[start : start + step])
        while (got := decoder.next()) is not None:
            received.append(tuple(got))
    assert received == sent


@pytest.mark.parametrize(
    "header",
    [
        b"\x00\x00\x00\x65\x00",  # JSON of 101 bytes
        b"\x00\x01\x00\x01\x01",  # DATA of 64 KiB and one byte
        b"\x00\x00\x00\x01\x02",  # END is empty
        b"\x00\x00\x00\x01\x03",  # no such kind
    ],
)
def test_a_frame_over_the_limit_of_its_kind_is_refused_at_its_header(header: bytes) -> None:
    decoder = FrameDecoder(json_limit=100)
    decoder.feed(header)
    with pytest.raises(Malformed):
        decoder.next()


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_769_860_800_007, "2026-01-31T12:00:00.007Z"),
        (-5, "1970-01-01T00:00:00.000Z"),
        (2**63, "9999-12-31T23:59:59.999Z"),
    ],
)
def test_times_are_utc_text_whatever_a_stranger_claims(ms: int, text: str) -> None:
    assert control.utc(ms) == text


if __name__ == "__main__":
    SCHEMA.write_text(schema())
