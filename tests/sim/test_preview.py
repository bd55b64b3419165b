"""A patient sees who could read what before she signs: in the simulated world, with whole clinics."""

import pytest
import trio

from protocol.access import DenyReason
from protocol.control import MyPreview, MyStop, PreviewItem, ShareTerms
from protocol.errors import Code, Refused, UserError
from protocol.limits import DAY_MS
from tests.sim.light_world import Someone
from tests.sim.network import SimNetwork
from tests.sim.nodes import Cluster
from tests.sim.record_world import RECORD, add, get, play, receive_code, share


def verdicts(row: PreviewItem) -> tuple[str, str, str]:
    """Who, and what a clinic would answer now and then; nothing is yes."""
    assert row.then is not None
    return row.reader_name, row.now.reason, row.then.reason


def test_a_preview_says_what_clinics_then_do_and_signs_nothing() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer, reader, other, _ = cluster.nodes
        token = (await add(issuer, await receive_code(someone, issuer), RECORD)).token
        await trio.sleep(5)
        grant = await share(someone, token, reader)
        terms = ShareTerms(clinic=other.name, for_ms=60 * DAY_MS, purposes=("TREAT",))
        asked = MyPreview(records=(token[:12],), in_ms=31 * DAY_MS, share=terms)

        shown = await someone.patient.preview.preview(asked)
        expired = DenyReason.EXPIRED.value
        assert [verdicts(row) for row in shown.rows] == [
            ("", "", ""),
            (reader.name, "", expired),
            (other.name, "", ""),
        ]
        assert [(row.grant, row.is_new) for row in shown.rows] == [("", False), (grant, False), ("", True)]
        [only] = (await someone.my.shares()).grants
        assert only.grant == grant
        assert (await get(reader, token))[1] == RECORD
        with pytest.raises(Refused):
            await get(other, token)

        await someone.my.stop(MyStop(id=grant))
        shown = await someone.patient.preview.preview(MyPreview(records=(token,)))
        assert [(row.reader, row.now.can_read, row.then) for row in shown.rows] == [("", True, None)]
        assert (await someone.patient.preview.preview(MyPreview())).rows == ()

    play(story)


def test_a_share_that_could_not_be_signed_cannot_be_previewed() -> None:
    async def story(cluster: Cluster, someone: Someone, network: SimNetwork) -> None:
        issuer = cluster.nodes[0]
        token = (await add(issuer, await receive_code(someone, issuer), RECORD)).token
        await trio.sleep(5)
        for terms, code in (
            (ShareTerms(clinic="nobody", for_ms=DAY_MS, purposes=("TREAT",)), Code.USAGE),
            (ShareTerms(clinic=issuer.name, for_ms=DAY_MS, purposes=("NONSENSE",)), Code.PURPOSE),
            (ShareTerms(clinic=issuer.name, for_ms=400 * DAY_MS + 1, purposes=("TREAT",)), Code.DURATION),
        ):
            with pytest.raises(UserError) as caught:
                await someone.patient.preview.preview(MyPreview(records=(token,), share=terms))
            assert caught.value.code is code

    play(story)
