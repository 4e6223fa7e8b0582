"""A hint to the processor, for compiled loops that read rows of a big table in no order."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LINE = 16
"""float32 numbers in a line of cache."""


def _prefetch(typing_context: Any, table: Any, row: Any, column: Any) -> Any:
    """Signature and code of ``prefetch``, as numba asks for them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        place = cgutils.get_item_pointer(  # type: ignore[no-untyped-call]
            context, builder, signature.args[0], array, list(arguments[1:]), wraparound=False
        )
        byte = ir.IntType(8).as_pointer()
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [byte, word, word, word])
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, "llvm.prefetch.p0"
        )
        for_writing, keep, data = word(1), word(3), word(1)
        builder.call(function, [builder.bitcast(place, byte), for_writing, keep, data])
        return context.get_dummy_value()

    return types.void(table, types.intp, types.intp), generate


prefetch: Callable[..., Any] = intrinsic(_prefetch)
"""``prefetch(table, row, column)``: begin to load the line of cache that holds ``table[row, column]``.

It changes no value and never faults. The rows of a step lie all over tables of many megabytes: told a few rows ahead,
the processor waits for several of them at once, where it would wait for one after the other.
"""
