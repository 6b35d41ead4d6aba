"""Version 1 had no graded audits: images sent a second time, each alone, and how many of those answers changed."""

from typing import Any


def migrate(record: dict[str, Any]) -> dict[str, Any]:
    """Make version 2: what was asked twice becomes the audit `alone`, which says nothing about chance: no verdict."""
    record["provenance"].setdefault("gpu", [])
    for badnet in record["badnets"].values():
        audits = badnet["audits"]
        if "repeated" in audits:
            asked = {"images": audits["repeated"], "changed": audits["changed"], "clean": None, "poisoned": None}
            badnet["audits"] = {"alone": asked if audits["repeated"] else None, "verdicts": []}
    return record
