"""The description of the wire format names every type, tag, field, kind and protocol there is, in order."""

import ast
import re
import types
import typing
from collections.abc import Iterator

import pytest

from protocol.codec import Wire
from protocol.keys import PublicKey, SealKey
from tests.fuzz.values import wire_types
from tests.tidy.source import ROOT, nodes

DESCRIPTION = (ROOT / "protocol" / "README.md").read_text("utf-8")
SECTION = re.compile(r"^#### `([\w.]+)`(?:, tag (\d+))?\n(.*?)(?=^#|\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+?) \| ([^|]+) \|$", re.MULTILINE)
PLAIN = {int: "int", str: "text", bytes: "bytes", bool: "bool"}
LOCAL_TAGS = {"backup", "bench", "application", "key-file", "vote-page", "patient"}  # of files and tools
SECTIONS = {name: (tag, body) for name, tag, body in SECTION.findall(DESCRIPTION)}
KINDS = {
    f"{kind.__module__.removeprefix('protocol.')}.{kind.__name__}": kind
    for kind in wire_types()
    if kind.__module__.startswith("protocol.")
}


def notation(hint: typing.Any) -> str:
    """A field's type as the description writes it."""
    if hint in (PublicKey, SealKey):
        return "key" if hint is PublicKey else "seal key"
    if isinstance(hint, typing.NewType):
        return "hash"
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return notation(arguments[0])
    if origin is tuple:
        return f"[{notation(arguments[0])}]"
    if origin in (typing.Union, types.UnionType):
        named = [notation(item) for item in arguments if item is not type(None)]
        return " or ".join([*named, "nil"] if type(None) in arguments else named)
    if isinstance(hint, type) and issubclass(hint, Wire):
        return hint.__name__
    return PLAIN[hint]


def test_every_type_of_the_wire_is_described_and_no_other() -> None:
    assert len(SECTION.findall(DESCRIPTION)) == len(SECTIONS), "a type is described twice"
    assert sorted(SECTIONS) == sorted(KINDS)


@pytest.mark.parametrize("name", KINDS)
def test_a_type_is_described_field_by_field(name: str) -> None:
    kind, (tag, body) = KINDS[name], SECTIONS[name]
    hints = typing.get_type_hints(kind, include_extras=True)
    wanted = [(field, notation(hints[field])) for field in kind.__struct_fields__]
    assert [(field, said) for field, said, _ in ROW.findall(body)] == wanted
    known = kind.__struct_config__.tag
    assert tag == ("" if known is None else str(int(known)))


def calls(function: str) -> Iterator[ast.Call]:
    for _, node in nodes("protocol", "node"):
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == function:
            yield node


def test_every_hash_tag_is_described() -> None:
    tags = {
        argument.value
        for node in calls("digest")
        for argument in node.args[:1]
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }
    assert len(tags) > 15
    unnamed = {tag for tag in tags - LOCAL_TAGS if f"`{tag}`" not in DESCRIPTION}
    assert unnamed == set()


def test_every_kind_of_signature_is_described() -> None:
    constants = {
        target.id: node.value.value
        for _, node in nodes("protocol", "node")
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Constant)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if isinstance(target, ast.Name) and isinstance(node.value.value, str)
    }
    kinds = set()
    for node in calls("sign"):
        match node.args[:1]:
            case [ast.Constant(value=str(kind))]:
                kinds.add(kind)
            case [ast.Name(id=name)] if name not in ("KIND", "_KIND"):
                kinds.add(constants[name])
    assert {"enrolment", "statement", "card", "audit-question"} <= kinds
    table = DESCRIPTION.split("| kind | body | by |")[1].split("\n\n")[0]
    assert {
        kind for kind in kinds | {"fetch", "transaction", "holding"} if f"`{kind}`" not in table
    } == set()


def test_every_protocol_and_topic_is_described() -> None:
    served = {
        ast.unparse(node.args[0])
        for function in ("serve", "serve_datagrams")
        for node in calls(function)
        if node.args and "transport" in ast.unparse(node.func)
    }
    assert served == {"PROTOCOL", "LIGHT", "SUBMIT"}, "a protocol is registered in another way: mend this"
    for protocol in ("consensus", "submit", "blocks", "blob", "audit", "light", "members"):
        assert f"`/chartmesh/N/{protocol}/1`" in DESCRIPTION
    for topic in ("blocks", "urgent"):
        assert f"`/chartmesh/N/{topic}`" in DESCRIPTION
