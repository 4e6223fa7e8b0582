"""Users' pseudonyms and the salt they are made with."""

from __future__ import annotations

import hashlib
import hmac
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.pseudonym import pseudonym, secret_of, shape


def test_the_salt_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    place = tmp_path / "new" / "salt"
    first = secret_of(place)
    assert len(first) == 32
    assert secret_of(place) == first
    assert place.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in place.parent.iterdir()] == ["salt"]
    assert secret_of(tmp_path / "other") != first


def test_many_that_make_the_salt_at_once_get_the_same_one(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(secret_of, [tmp_path / "salt"] * 64))
    assert len(found) == 1


def test_a_pseudonym_is_a_keyed_hash() -> None:
    expected = hmac.new(b"salt", "Änne".encode(), hashlib.sha256).hexdigest()[:12]
    assert pseudonym(b"salt", "Änne") == f"user-{expected}"
    assert pseudonym(b"other", "Änne") != pseudonym(b"salt", "Änne")


@pytest.mark.parametrize(
    ("identity", "built"),
    [
        ("Ann-007", "Aaa-000"),
        ("u0012", "a0000"),
        ("Ärger@x.de", "Aaaaa@a.aa"),
        ("١٢", "00"),
        ("", ""),
        ("a_b c", "a_a a"),
    ],
)
def test_the_shape_of_an_id(identity: str, built: str) -> None:
    assert shape(identity) == built


@given(st.text())
def test_a_shape_has_the_length_of_the_id_and_tells_no_letter_or_digit(identity: str) -> None:
    built = shape(identity)
    assert len(built) == len(identity)
    assert {c for c in built if c.isalpha()} <= {"A", "a"}
    assert {c for c in built if c.isdecimal()} <= {"0"}
    assert shape(built) == built
