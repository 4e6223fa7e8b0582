"""How the inner loops are compiled that fill arrays given to them, and a hint to the processor for those that read in no order."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

# read when numba is imported: its colours leave a code on the terminal at the end
os.environ.setdefault("NUMBA_DISABLE_ERROR_MESSAGE_HIGHLIGHTING", "1")

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LINE", "kernel", "njit", "prefetch", "prefetch_to_write"]


def _cache_folder(package: Path) -> Path | None:
    """Where compiled code of the present kernels is kept; None: where numba keeps it, if that folder cannot be written.

    numba compiles a function again when its own file has changed, but not when a kernel has that it calls from another file:
    the old code would go on to be used. So every state of all files with kernels has a folder of its own.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        if b"njit" in text or b"kernel(" in text:
            digest.update(path.relative_to(package).as_posix().encode() + b"\0" + text)
    folder = package / "__pycache__" / f"kernels-{digest.hexdigest()[:16]}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


if "NUMBA_CACHE_DIR" not in os.environ and (_folder := _cache_folder(Path(__file__).parent.parent)) is not None:
    numba.config.CACHE_DIR = str(_folder)  # type: ignore[attr-defined]  # read when a function is decorated

kernel = partial(njit, cache=True, nogil=True, _nrt=False)
"""``@kernel()``, ``@kernel(fastmath=...)``: numba's ``njit`` for a function that makes no array; a view of one is none.

numba counts references to arrays, with two locked operations for each that a function receives, and a loop that calls a
function for each row spends more time with them than with the row. ``_nrt=False`` leaves them out; numba refuses to
compile a function that needs them.
"""

LINE = 16
"""float32 numbers in a line of cache."""


def _prefetch(for_writing: bool) -> Callable[..., Any]:
    def hint(typing_context: Any, array: Any, index: Any) -> Any:
        """Signature and code, as numba asks for them."""
        kinds = getattr(index, "types", (index,))

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            view = context.make_array(signature.args[0])(context, builder, arguments[0])
            numbers = cgutils.unpack_tuple(builder, arguments[1]) if len(kinds) > 1 else [arguments[1]]  # type: ignore[no-untyped-call]
            places = [context.cast(builder, *pair, types.intp) for pair in zip(numbers, kinds, strict=True)]
            place = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
                context, builder, signature.args[0], view, places, wraparound=False
            )
            byte = ir.IntType(8).as_pointer()
            word = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
            function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
                builder.module, kind, "llvm.prefetch.p0"
            )
            keep, data = word(3), word(1)
            builder.call(function, [builder.bitcast(place, byte), word(int(for_writing)), keep, data])
            return context.get_dummy_value()

        return types.void(array, index), generate

    function: Callable[..., Any] = intrinsic(hint)
    return function


prefetch = _prefetch(for_writing=False)
"""``prefetch(array, index)``: begin to load the line of cache that holds ``array[index]``, to be read.

It changes no value and never faults. Rows that lie all over arrays of many megabytes: told a few rows ahead, the
processor waits for several of them at once, where it would wait for one after the other.
"""

prefetch_to_write = _prefetch(for_writing=True)
"""``prefetch``, to be written: the line is taken from other cores."""
