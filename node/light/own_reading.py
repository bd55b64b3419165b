"""How an owner asks for her own record: by her owner key, and those first who should hold it."""

from typing import Final

from node.light.clinics import Clinics
from node.light.wallet import OwnRecord, Wallet
from node.records.fetch_run import FetchAsk
from protocol.keys import PublicKey
from protocol.placement import holders
from protocol.purposes import OWNER_PURPOSE

OWNER: Final = "the owner"


def own_ask(wallet: Wallet, record: OwnRecord, content_key: bytes) -> FetchAsk:
    """For the whole of `record`, whose box was opened already."""
    return FetchAsk(
        token=record.token,
        content=record.content,
        content_key=content_key,
        signer=wallet.owner_key(record),
        grant_body=b"",
        purpose=OWNER_PURPOSE,
        user=OWNER,
    )


def own_sources(clinics: Clinics, record: OwnRecord, copies: int) -> list[PublicKey]:
    """The connected clinics, those first that should hold one of the `copies`: any other only refuses."""
    members = (member.id_key for member in clinics.members)
    placed = holders(record.content.root, record.issuer, members, copies)
    return sorted(clinics.reachable(), key=lambda peer: peer not in placed)
