"""Brings a record of an older schema to the newest: one file `from_<version>.py` for each step, found by its place.

Each has `migrate(record) -> record`, which takes and gives the record's JSON as plain values and makes version + 1 of it.
A step fails with KeyError, TypeError, ValueError or AttributeError on what was no record of its version.
"""

import importlib
import json
from typing import Any


class TooNew(Exception):
    """The record's schema is newer than this code; the text is its version."""


class Damaged(Exception):
    """The record is not what its schema wants; the text is its version."""


def newest_form(data: bytes, newest: int) -> bytes:
    """The record's JSON in the newest version; `data` itself where it is that already, or no record at all.

    Raises TooNew where the version is higher than `newest`, Damaged where it cannot be read as what it says it is.
    """
    try:
        record: Any = json.loads(data)
        version = record["schema_version"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return data
    if type(version) is not int or not version >= 1:
        return data
    if version > newest:
        raise TooNew(f"{version:,}")
    if version == newest:
        return data
    for step in range(version, newest):
        try:
            record = importlib.import_module(f"harness.migrations.from_{step}").migrate(record)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Damaged(f"{step}") from error
        record["schema_version"] = step + 1
    return json.dumps(record).encode()
