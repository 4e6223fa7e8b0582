"""Every request that is not answered gets the same message: a status and what is wrong, and nothing of the machine."""

from __future__ import annotations

import logging
from typing import Any

import msgspec
from litestar import MediaType, Request, Response
from litestar.exceptions import HTTPException
from litestar.openapi.datastructures import ResponseSpec
from litestar.types import ExceptionHandlersMap, Send

from freqd.errors import InputError
from freqd.serve.http.messages import Problem

HEADERS = {503: {"retry-after": "1"}, 401: {"www-authenticate": "Bearer"}}
"""Further headers of a refusal, by its status."""

REFUSALS = {
    400: ResponseSpec(
        Problem, description="The question cannot be read or asks for too much.", generate_examples=False
    ),
    401: ResponseSpec(Problem, description="The token is missing or wrong.", generate_examples=False),
    503: ResponseSpec(Problem, description="Too much at once.", generate_examples=False),
}
"""How every route may refuse, for the schema."""
UNKNOWN = {404: ResponseSpec(Problem, description="The model does not know it.", generate_examples=False)}


async def send_refusal(send: Send, status: int, message: str) -> None:
    """A refusal before the application has seen the request."""
    body = msgspec.json.encode(Problem(status, message))
    extra = [(name.encode(), value.encode()) for name, value in HEADERS.get(status, {}).items()]
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), *extra]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _problem(status: int, message: str) -> Response[Problem]:
    return Response(
        Problem(status, message), status_code=status, media_type=MediaType.JSON, headers=HEADERS.get(status)
    )


def _explain(_: Request[Any, Any, Any], error: HTTPException) -> Response[Problem]:
    """Litestar's refusals as one message that names what is wrong."""
    message = error.detail
    extra = error.extra
    if isinstance(extra, list) and extra:
        message = "; ".join(
            f"{entry['key']}: {entry['message']}" if entry.get("key") else str(entry["message"]) for entry in extra
        )
    return _problem(error.status_code, message)


def _refuse(_: Request[Any, Any, Any], error: InputError) -> Response[Problem]:
    return _problem(400, error.problem)


def _unreadable(_: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    return _problem(
        400, f"the request cannot be read: {'it is nested too deeply' if isinstance(error, RecursionError) else error}"
    )


def _broken(_: Request[Any, Any, Any], error: Exception) -> Response[Problem]:
    logging.getLogger("freqd").error("a request failed", exc_info=error)
    return _problem(500, "the request failed; the log of the service says why")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    HTTPException: _explain,
    InputError: _refuse,
    RecursionError: _unreadable,
    UnicodeError: _unreadable,
    Exception: _broken,
}
