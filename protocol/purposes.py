"""Purposes of use: the HL7 v3 codes, which purpose covers which, and the words people use for them.

The table is the PurposeOfUse branch of v3-ActReason as published with FHIR R4 (see VERSION). A granted
purpose covers itself and those below it, except overrides and trials, which a patient names or does
not give. There is no purpose that covers all, and none is ever assumed.
"""

from collections.abc import Iterable
from typing import Final

from protocol.errors import Code, UserError

SYSTEM: Final = "http://terminology.hl7.org/CodeSystem/v3-ActReason"
VERSION: Final = "2018-08-12"

OWNER_PURPOSE: Final = "PATRQT"
"""The purpose for which an owner reads her own record."""

_TABLE: Final[dict[str, tuple[str, str]]] = {
    # code: (the code above it, display name)
    "HMARKT": ("", "healthcare marketing"),
    "HOPERAT": ("", "healthcare operations"),
    "CAREMGT": ("HOPERAT", "care management"),
    "DONAT": ("HOPERAT", "donation"),
    "FRAUD": ("HOPERAT", "fraud"),
    "GOV": ("HOPERAT", "government"),
    "HACCRED": ("HOPERAT", "health accreditation"),
    "HCOMPL": ("HOPERAT", "health compliance"),
    "HDECD": ("HOPERAT", "decedent"),
    "HDIRECT": ("HOPERAT", "directory"),
    "HDM": ("HOPERAT", "healthcare delivery management"),
    "HLEGAL": ("HOPERAT", "legal"),
    "HOUTCOMS": ("HOPERAT", "health outcome measure"),
    "HPRGRP": ("HOPERAT", "health program reporting"),
    "HQUALIMP": ("HOPERAT", "health quality improvement"),
    "HSYSADMIN": ("HOPERAT", "health system administration"),
    "LABELING": ("HSYSADMIN", "labeling"),
    "METAMGT": ("HSYSADMIN", "metadata management"),
    "MEMADMIN": ("HOPERAT", "member administration"),
    "MILCDM": ("HOPERAT", "military command"),
    "PATADMIN": ("HOPERAT", "patient administration"),
    "PATSFTY": ("HOPERAT", "patient safety"),
    "PERFMSR": ("HOPERAT", "performance measure"),
    "RECORDMGT": ("HOPERAT", "records management"),
    "SYSDEV": ("HOPERAT", "system development"),
    "HTEST": ("SYSDEV", "test health data"),
    "TRAIN": ("HOPERAT", "training"),
    "HPAYMT": ("", "healthcare payment"),
    "CLMATTCH": ("HPAYMT", "claim attachment"),
    "COVAUTH": ("HPAYMT", "coverage authorization"),
    "COVERAGE": ("HPAYMT", "coverage under policy or program"),
    "ELIGDTRM": ("COVERAGE", "eligibility determination"),
    "ELIGVER": ("COVERAGE", "eligibility verification"),
    "ENROLLM": ("COVERAGE", "enrollment"),
    "MILDCRG": ("COVERAGE", "military discharge"),
    "REMITADV": ("HPAYMT", "remittance advice"),
    "HRESCH": ("", "healthcare research"),
    "BIORCH": ("HRESCH", "biomedical research"),
    "CLINTRCH": ("HRESCH", "clinical trial research"),
    "CLINTRCHNPC": ("CLINTRCH", "clinical trial research without patient care"),
    "CLINTRCHPC": ("CLINTRCH", "clinical trial research with patient care"),
    "PRECLINTRCH": ("CLINTRCH", "preclinical trial research"),
    "DSRCH": ("HRESCH", "disease specific healthcare research"),
    "POARCH": ("HRESCH", "population origins or ancestry healthcare research"),
    "TRANSRCH": ("HRESCH", "translational healthcare research"),
    "PATRQT": ("", "patient requested"),
    "FAMRQT": ("PATRQT", "family requested"),
    "PWATRNY": ("PATRQT", "power of attorney"),
    "SUPNWK": ("PATRQT", "support network"),
    "PUBHLTH": ("", "public health"),
    "DISASTER": ("PUBHLTH", "disaster"),
    "THREAT": ("PUBHLTH", "threat"),
    "TREAT": ("", "treatment"),
    "CLINTRL": ("TREAT", "clinical trial"),
    "COC": ("TREAT", "coordination of care"),
    "ETREAT": ("TREAT", "emergency treatment"),
    "BTG": ("ETREAT", "break the glass"),
    "ERTREAT": ("ETREAT", "emergency room treatment"),
    "POPHLTH": ("TREAT", "population health"),
}

_ONLY_BY_NAME: Final = frozenset({"BTG", "CLINTRL"})

_WORDS: Final = {
    "treatment": "TREAT",
    "care": "TREAT",
    "coordination": "COC",
    "emergency": "ETREAT",
    "trial": "CLINTRL",
    "payment": "HPAYMT",
    "insurance": "COVERAGE",
    "operations": "HOPERAT",
    "quality": "HQUALIMP",
    "research": "HRESCH",
    "public-health": "PUBHLTH",
    "family": "FAMRQT",
    "self": OWNER_PURPOSE,
    "marketing": "HMARKT",
}


def is_purpose(code: str) -> bool:
    """Whether `code` is a code of the table, in capitals as it stands there."""
    return code in _TABLE


def covers(granted: Iterable[str], asked: str) -> bool:
    """Whether one of the `granted` codes covers the purpose `asked`.

    Raises:
        UserError: PURPOSE, where `asked` or one of `granted` is not a code of the table.
    """
    allowed = {_known(code) for code in granted}
    code = _known(asked)
    if code in _ONLY_BY_NAME:
        return code in allowed
    while code:
        if code in allowed:
            return True
        code = _TABLE[code][0]
    return False


def display(code: str) -> str:
    """The display name of a code. Raises UserError, PURPOSE, where it is unknown."""
    return _TABLE[_known(code)][1]


def purpose_code(text: str) -> str:
    """The code that a person means by a code in any case or by a plain word such as `treatment`.

    Raises:
        UserError: PURPOSE, where the text is empty or means nothing here.
    """
    word = text.strip().lower().replace(" ", "-").replace("_", "-")
    return _WORDS.get(word) or _known(word.upper())


def _known(code: str) -> str:
    if code not in _TABLE:
        shown = code if code.isprintable() and len(code) <= 32 else "this"
        raise UserError(
            f"unknown purpose: {shown}" if code else "no purpose given",
            f"use an HL7 PurposeOfUse code or one of: {', '.join(_WORDS)}",
            code=Code.PURPOSE,
        )
    return code
