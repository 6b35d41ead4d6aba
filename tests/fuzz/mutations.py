"""Strategies of bytes: documents with nothing wrong, spoilt in their structure, in their bytes, or both; and any bytes."""

import io
import json
import struct
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import tomli_w
from hypothesis import strategies as st
from numpy.typing import NDArray

ODD_WORDS = (
    "", "\0", "m\0.h5", "\x1b[31m", "[red]", "<b>", "../x", "/etc/passwd", ".", "..", "a/../b", "x" * 5000, "\u202e", "\ud800", "ä",
    "first", "mine", "[" * 500, "{image}", "m.h5", "p.py:P", "0x10", "nan", "-1", "(" * 200, "a{99999999999}",
    "deep", "deeper",
)  # fmt: skip
ODD_NUMBERS = (
    0,
    -1,
    1,
    5,
    255,
    2**31,
    2**63 - 1,
    2**40 - 1,
    2**63,
    10**400,
    -(10**400),
    1e308,
    -0.0,
    float("nan"),
    float("inf"),
)
DEEP = {b'"deep"': b"[" * 300 + b"]" * 300, b'"deeper"': b"[" * 5000 + b"]" * 5000}
"""What stands for these words in a document: deeper than it could be built and written."""
SLICES = (
    b"[",
    b"{",
    b"a.",
    b'"',
    b"'''",
    b"0",
    b"9",
    b",",
    b"\0",
    b"\xff",
    b"\n",
    b"=",
    b"[[a]]\n",
    b'{"a":',
    b"\\u0000",
)
"""What a mutation repeats or inserts."""

simple = st.sampled_from(ODD_WORDS) | st.sampled_from((*ODD_NUMBERS, True, False))
odd = simple | st.recursive(
    simple | st.text(max_size=20) | st.integers(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(ODD_WORDS) | st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def documents(valid: Sequence[Any], dump: Callable[[Any], bytes]) -> st.SearchStrategy[bytes]:
    """Documents written by `dump`, changed in up to six places, and then perhaps in their bytes; or any bytes."""
    written = spoilt(valid).map(dump)
    kind = st.sampled_from(
        (written, written, written, spoilt_bytes(written), spoilt_bytes(written), st.binary(max_size=400))
    )
    return kind.flatmap(lambda chosen: chosen)


@st.composite
def spoilt(draw: st.DrawFn, valid: Sequence[Any]) -> Any:
    """One of the documents, with odd values, missing keys, doubled and new ones."""
    document = deepcopy(draw(st.sampled_from(valid)))
    for _ in range(draw(st.sampled_from((0, 1, 1, 1, 2, 2, 3, 6)))):
        places = list(_places(document))
        if not places:
            break
        holder, key = places[draw(st.integers(0, len(places) - 1))]
        change = draw(st.sampled_from(("alike", "alike", "alike", "replace", "remove", "add", "move")))
        if change in ("alike", "replace"):
            holder[key] = draw(_alike(holder[key]) if change == "alike" else odd)
        elif change == "remove":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(draw(odd))
        elif change == "add":
            holder[draw(st.sampled_from(ODD_WORDS))] = draw(odd)
        else:
            holder[draw(st.sampled_from(ODD_WORDS))] = holder.pop(key)
    return document


def _alike(value: Any) -> st.SearchStrategy[Any]:
    """Other values of the same type."""
    if isinstance(value, str):
        return st.text("abc01._-/: {}\n\x1b", max_size=12) | st.sampled_from(ODD_WORDS)
    if isinstance(value, bool):
        return st.booleans()
    return st.integers(0, 9) | st.integers() if isinstance(value, int) else st.floats(-1e9, 1e9) | odd


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every item within a document, as its holder and its key."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


@st.composite
def spoilt_bytes(draw: st.DrawFn, valid: st.SearchStrategy[bytes]) -> bytes:
    """Bytes with up to four places cut, overwritten, repeated up to 3,000 times, or filled with what parsers count."""
    data = draw(valid)
    for _ in range(draw(st.sampled_from((1, 1, 2, 4)))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 40)))
        change = draw(st.sampled_from(("cut", "end", "repeat", "insert", "overwrite")))
        if change == "cut":
            data = data[:start] + data[end:]
        elif change == "end":
            data = data[:start]
        elif change == "repeat":
            data = data[:start] + data[start:end] * draw(st.integers(2, 3000)) + data[end:]
        elif change == "insert":
            data = data[:start] + draw(st.sampled_from(SLICES)) * draw(st.integers(1, 3000)) + data[start:]
        else:
            data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
    return data


def as_toml(document: Any) -> bytes:
    """TOML; what it cannot hold becomes text."""
    try:
        return _deepened(tomli_w.dumps(document))
    except (TypeError, ValueError):
        return repr(document).encode(errors="surrogatepass")


def as_json(document: Any) -> bytes:
    """JSON, also with numbers that it does not have."""
    try:
        return _deepened(json.dumps(document, indent=1))
    except ValueError:  # an integer of more digits than are written
        return repr(document).encode(errors="surrogatepass")


def _deepened(text: str) -> bytes:
    data = text.encode(errors="surrogatepass")
    for word, deep in DEEP.items():
        data = data.replace(word, deep)
    return data


HEADER = "{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}"


@st.composite
def archives(draw: st.DrawFn, arrays: dict[str, NDArray[Any]]) -> bytes:
    """A .npz of some of the arrays and of others that lie about themselves, perhaps with lies in the zip's own fields."""
    stream = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(stream, "w") as archive:  # of one name twice
        names = draw(st.lists(st.sampled_from([*arrays, "../x", "/x", "x\0y", ""]), max_size=6))
        for name in names:
            method = draw(
                st.sampled_from((zipfile.ZIP_STORED,) * 9 + (zipfile.ZIP_DEFLATED,) * 9 + (zipfile.ZIP_LZMA,))
            )
            member = draw(_lying() | st.sampled_from(list(arrays.values())).map(_npy) | st.binary(max_size=60))
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member, method)
    data = bytearray(stream.getvalue())
    for _ in range(draw(st.integers(0, 3))):
        mark = draw(st.sampled_from((b"PK\1\2", b"PK\3\4", b"PK\5\6")))
        place = data.find(mark) + draw(st.integers(4, 44))
        if place < len(data):
            data[place : place + 4] = struct.pack("<I", draw(st.sampled_from((0, 1, 2**16 - 1, 2**31, 2**32 - 1))))
    return bytes(data)


@st.composite
def _lying(draw: st.DrawFn) -> bytes:
    header = HEADER.format(
        descr=draw(st.sampled_from(("<i4", "<f8", "|O", "|S5", "<U9", ">i4", "|u1", "<f1", "<M8[s]", "x" * 99))),
        order=draw(st.sampled_from(("False", "True", "[" * 99))),
        shape=draw(st.sampled_from(("(3,)", "()", "(2, 2)", "(999999999999,)", "(-1,)", "(1e9,)", "(" * 99))),
    )
    version = draw(st.sampled_from((b"\1\0", b"\2\0", b"\3\0", b"\xff\xff")))
    length = draw(st.sampled_from((len(header) + 1, 0, 2**16 - 1)))
    return b"\x93NUMPY" + version + struct.pack("<H", length) + header.encode() + b"\n" + draw(st.binary(max_size=40))


def _npy(array: NDArray[Any]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()
