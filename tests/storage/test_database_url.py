"""Addresses of databases: whatever is in a password, no error and no name server gets a part of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freqd.errors import InputError
from freqd.storage.database_url import Address

ODD = ["p@ss", "p/ss", "p#ss", "p?ss", "p:s@s", "p%ss", "p%zz", "p ss", "p[ss", "p]ss", "p\\ss", 'p"ss', "p<ss", "pä", "@@", "p\nss"]  # fmt: skip


@pytest.mark.parametrize("password", ODD)
def test_a_password_that_is_not_quoted_is_in_no_error(password: str) -> None:
    with pytest.raises(InputError) as caught:
        Address.parse(f"postgresql://freqd:{password}secret@db.example.org:5432/shop", "FREQD_DATABASE_URL")
    assert "secret" not in str(caught.value)
    assert password not in caught.value.problem
    assert "%40" in caught.value.remedy


@given(password=st.text(min_size=1, max_size=20), user=st.text("ab@:/", min_size=1, max_size=5))
def test_what_is_quoted_comes_out_as_it_was(password: str, user: str) -> None:
    from urllib.parse import quote

    try:
        text = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db:5432/shop?sslmode=require"
    except UnicodeEncodeError:  # half a character cannot be quoted
        return
    found = Address.parse(text, "FREQD_DATABASE_URL")
    assert (found.user, found.password, found.host, found.port, found.database) == (user, password, "db", 5432, "shop")
    assert found.arguments()["sslmode"] == "require"
    assert Address.parse(found.url("postgresql"), "X") == found
    assert "password" not in repr(found)


@pytest.mark.parametrize("text", ["", "mysql://u:p@db/shop", "postgresql://u:p@/shop", "postgresql://db", "db/shop"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="FREQD_DATABASE_URL"):
        Address.parse(text, "FREQD_DATABASE_URL")
