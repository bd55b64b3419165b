"""The `submit` protocol: signed transactions into a clinic's mempool, from members and light clients."""

from protocol import limits
from protocol.codec import Wire, decode
from protocol.errors import Malformed
from protocol.messages.consensus import Submission

SUBMISSIONS_MAX = 64


class SubmitRequest(Wire, frozen=True):
    submissions: tuple[Submission, ...]


class SubmitReply(Wire, frozen=True):
    """For each submission whether it was taken: then it is durable there, and a revocation counts
    there from now on. Why one was not is nobody's business but its signer's, who knows."""

    taken: tuple[bool, ...]


def decode_submit_request(raw: bytes) -> SubmitRequest:
    """Raises Malformed."""
    request = decode(SubmitRequest, raw, limit=limits.LIGHT_REPLY_BYTES_MAX)
    if not 1 <= len(request.submissions) <= SUBMISSIONS_MAX:
        raise Malformed("submit request has no submissions or too many")
    return request


def decode_submit_reply(raw: bytes, count: int) -> SubmitReply:
    """Raises Malformed, also where the reply is not for `count` submissions."""
    reply = decode(SubmitReply, raw, limit=limits.CONTROL_FRAME_BYTES_MAX)
    if len(reply.taken) != count:
        raise Malformed("submit reply is not for the submissions sent")
    return reply
