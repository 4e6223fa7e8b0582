"""Names that stand for users where their own ids have no business: reports, logs, whatever is passed on.

A pseudonym is a keyed hash, HMAC-SHA256 with a salt that is kept in the working directory. Without the salt nobody can
try out ids until one fits; with it, the same user has the same pseudonym in everything that was made there.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path

SALT_BYTES = 32
DIGITS = 12
"""Hexadecimal, so 48 bits: two of a million users share one with a chance of 0.2 %."""


def secret_of(path: Path) -> bytes:
    """The random bytes in the file ``path``, made if it is missing; only its owner may read it.

    Two processes that make it at once end up with the same ones. The salt of pseudonyms is such a file: lost, it cannot be
    made again, and later pseudonyms differ from earlier ones.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(SALT_BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(new, path)
        except FileExistsError:
            pass  # another process was first
        finally:
            new.unlink()
    return path.read_bytes()


def pseudonym(salt: bytes, identity: str) -> str:
    """What is shown in the place of a user's own id."""
    return f"user-{hmac.new(salt, identity.encode(), hashlib.sha256).hexdigest()[:DIGITS]}"


def shape(identity: str) -> str:
    """How an id is built, without what it says: ``Ann-007`` is ``Aaa-000``. Shows why two kinds of ids do not match."""
    return re.sub(r"[^\W\d_]", lambda found: "A" if found[0].isupper() else "a", re.sub(r"\d", "0", identity))
