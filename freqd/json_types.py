"""JSON as types: what a file, a server or a page takes and gives, where nothing more is known of it."""

from __future__ import annotations

from typing import TypeAlias

from pydantic import JsonValue

Json: TypeAlias = JsonValue
"""Null, a truth value, a number, a text, a list or an object."""
JsonObject: TypeAlias = dict[str, Json]
"""An object of JSON."""
