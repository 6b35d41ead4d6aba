"""Records of older schemas are read as if they were new; newer ones are refused with the fix."""

import json
from pathlib import Path

import pytest

from harness.errors import UserError
from harness.record import SCHEMA_VERSION, read_record
from tests.conftest import ROOT

SAMPLES = Path(__file__).parent / "records"
"""One record of each older version, as that version wrote it."""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "do-nothing.json"
    path.write_bytes((SAMPLES / "version_1.json").read_bytes())
    return path


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_there_is_a_step_and_a_sample_for_each_older_version() -> None:
    older = range(1, SCHEMA_VERSION)
    steps = {path.stem for path in (ROOT / "harness/migrations").glob("from_*.py")}
    assert steps == {f"from_{version}" for version in older}
    assert {path.stem for path in SAMPLES.glob("*.json")} == {f"version_{version}" for version in older}
    for version in older:
        assert json.loads((SAMPLES / f"version_{version}.json").read_text())["schema_version"] == version


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("*.json")), ids=lambda path: path.stem)
def test_an_older_record_keeps_its_figures(path: Path) -> None:
    before, after = json.loads(path.read_text()), read_record(path)
    assert after.schema_version == SCHEMA_VERSION
    assert after.score.value == before["score"]["value"]
    assert after.submission.digest == before["submission"]["digest"]
    for name, badnet in after.badnets.items():
        assert badnet.outcomes == before["badnets"][name]["outcomes"]
        assert badnet.timing.model_dump() == before["badnets"][name]["timing"]


def test_version_1_asked_images_alone_and_knew_no_verdicts(old: Path) -> None:
    stated = json.loads(old.read_text())["badnets"]["sunglasses"]["audits"]
    audits = read_record(old).badnets["sunglasses"].audits
    assert audits.alone is not None
    assert (audits.alone.images, audits.alone.changed) == (stated["repeated"], stated["changed"])
    assert (audits.verdicts, audits.again) == ([], None)
    assert read_record(old).provenance.gpu == []


def test_a_newer_record_says_to_update(old: Path) -> None:
    edit(old, schema_version=SCHEMA_VERSION + 1)
    with pytest.raises(
        UserError, match=f"schema_version: {SCHEMA_VERSION + 1} is newer than this harness, .*; update it"
    ):
        read_record(old)


@pytest.mark.parametrize("version", [0, -1, "1", 1.5, None, True, [1], 10**30])
def test_what_is_no_version_is_refused_in_one_line(old: Path, version: object) -> None:
    edit(old, schema_version=version)
    with pytest.raises(UserError, match="schema_version"):
        read_record(old)


@pytest.mark.parametrize("part", ["badnets", "provenance"])
@pytest.mark.parametrize("value", [None, [], "x", {"x": 1}, {"x": {"audits": 3}}])
def test_a_damaged_older_record_is_refused_in_one_line(old: Path, part: str, value: object) -> None:
    edit(old, **{part: value})
    with pytest.raises(UserError) as caught:
        read_record(old)
    assert str(caught.value).startswith(str(old))
    assert "\n" not in str(caught.value)
    assert value or "is no record of its schema_version, 1;" in str(caught.value)


def test_a_key_that_stands_twice_is_found_in_an_older_record_too(old: Path) -> None:
    old.write_text(old.read_text().replace('"commit":', '"commit": "x", "commit":', 1))
    with pytest.raises(UserError, match="stands there twice"):
        read_record(old)
