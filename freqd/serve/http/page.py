"""How to ask, as one page that needs nothing from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import Any

import freqd

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "code{background:#f2f2f2;padding:.1em .3em}h2{margin-bottom:.2em;font-size:1.1rem}"
    "td{padding:.1em 1em .1em 0;vertical-align:top}"
)


def page(schema: Mapping[str, Any]) -> str:
    """The OpenAPI schema as HTML."""
    parts = [
        _operation(method, path, operation)
        for path, operations in sorted(schema["paths"].items())
        for method, operation in operations.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>freqd</title><style>{_STYLE}</style></head>'
        f'<body><h1>freqd {html.escape(freqd.__version__)}</h1><p><a href="/schema/openapi.json">OpenAPI schema</a> · '
        f'<a href="/health">health</a> · <a href="/metrics">metrics</a></p>{"".join(parts)}</body></html>'
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{html.escape(p.get('description', ''))}</td>"
        f"<td>{_default(p.get('schema', {}))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    body = "<p>Body: <code>Question</code> as JSON, see the schema.</p>" if "requestBody" in operation else ""
    return (
        f"<h2><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation.get('summary', ''))}</h2>"
        f"<p>{html.escape(operation.get('description', ''))}</p>{body}<table>{rows}</table>"
    )


def _default(schema: Mapping[str, Any]) -> str:
    return f"default {html.escape(str(schema['default']))}" if "default" in schema else "required"
