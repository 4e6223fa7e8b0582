"""How to ask, as one page that needs nothing from elsewhere, and Swagger UI, from an installed package, to try it."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import freqd

STYLE = """
:root{--page:#f4f5f7;--card:#fff;--ink:#1f2328;--soft:#59636e;--line:#dfe3e8;--link:#0a58a8}
@media (prefers-color-scheme:dark){:root{--page:#101113;--card:#1a1a1a;--ink:#e6e8eb;--soft:#a3abb5;--line:#34373c;--link:#7cb8f2}}
body{font:16px/1.55 system-ui,sans-serif;max-width:54rem;margin:0 auto;padding:2rem 1rem;background:var(--page);color:var(--ink)}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:1rem 1.3rem;margin:1rem 0}
a{color:var(--link)}h1{margin:0 0 .3rem}h2{margin:0 0 .3rem;font-size:1.1rem}h3{margin:.9rem 0 .2rem;font-size:.95rem;color:var(--soft)}
code,pre{font:.9em ui-monospace,Menlo,Consolas,monospace}p{margin:.3rem 0}
p code,td code,h2 code{background:var(--page);border-radius:4px;padding:.1em .35em}
pre{background:var(--page);border-radius:6px;padding:.7rem .9rem;white-space:pre-wrap;overflow-wrap:anywhere;margin:.3rem 0}
table{border-collapse:collapse}td{padding:.15rem 1.1rem .15rem 0;vertical-align:top}td:last-child,.soft{color:var(--soft)}
"""
EXAMPLES: Mapping[tuple[str, str], tuple[tuple[str, object], ...]] = {
    ("post", "/recommend"): (
        ("Some known users", {"users": ["42", "7"], "k": 10}),
        ("A new user, by what they have met", {"history": ["1082185", "995242"], "k": 5, "deny": ["981760"]}),
        ("Candidates in the best order", {"users": ["42"], "allow": ["1082185", "995242", "1029743"], "k": 3}),
    ),
    ("post", "/events"): (
        (
            "What was shown, and what was clicked; version is that of the answer",
            {
                "events": [
                    {"user": "42", "item": "1082185", "event": "impression", "version": "2", "position": 1},
                    {"user": "42", "item": "1082185", "event": "click", "version": "2"},
                ]
            },
        ),
    ),
}
"""Bodies of questions, by method and path."""
ASSETS = ("swagger-ui.css", "swagger-ui-bundle.js")
"""Files of Swagger UI that are served."""
POLICY = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'"
TRY = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>freqd: try it</title>'
    '<meta name="color-scheme" content="light dark"><link rel="stylesheet" href="/try/swagger-ui.css">'
    "<style>@media (prefers-color-scheme:dark){body{background:#101113}#ui{filter:invert(.9) hue-rotate(180deg)}}</style></head>"
    '<body><div id="ui"></div><script src="/try/swagger-ui-bundle.js"></script><script src="/try/start.js"></script></body></html>'
)
START = (
    'SwaggerUIBundle({url: "/schema/openapi.json", dom_id: "#ui", validatorUrl: null, defaultModelsExpandDepth: 0});'
)


@cache
def asset(name: str) -> bytes:
    """A file of Swagger UI, from the package that brings it."""
    return (resources.files("fastapi_swagger") / "resources" / name).read_bytes()


def page(schema: Mapping[str, Any]) -> str:
    """The OpenAPI schema as HTML."""
    parts = [
        _operation(method, path, operation)
        for path, operations in sorted(schema["paths"].items())
        for method, operation in operations.items()
    ]
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>freqd</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" content="light dark">'
        f"<style>{STYLE}</style></head>"
        f'<body><h1>freqd {html.escape(freqd.__version__)}</h1><p><a href="/try">Try it</a> · <a href="/schema/openapi.json">OpenAPI '
        f'schema</a> · <a href="/health">health</a> · <a href="/metrics">metrics</a></p>{"".join(parts)}</body></html>'
    )


def with_examples(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with the examples of its bodies, which Swagger UI fills in."""
    for (method, path), examples in EXAMPLES.items():
        content = schema["paths"][path][method]["requestBody"]["content"]["application/json"]
        content["examples"] = {name: {"value": value} for name, value in examples}
    return schema


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(p['name'])}</code></td><td>{_words(p.get('description', ''))}</td>"
        f"<td>{_default(p.get('schema', {}))}</td></tr>"
        for p in operation.get("parameters", [])
    )
    examples = "".join(
        f"<h3>{html.escape(name)}</h3><pre>{html.escape(json.dumps(value, indent=1))}</pre>"
        for name, value in EXAMPLES.get((method, path), ())
    )
    return (
        f"<section><h2><code>{method.upper()} {html.escape(path)}</code> {html.escape(operation.get('summary', ''))}</h2>"
        f"<p>{_words(operation.get('description', ''))}</p>{f'<table>{rows}</table>' if rows else ''}{examples}</section>"
    )


def _words(text: str) -> str:
    """Text in `backticks` as code; everything is escaped."""
    pieces = text.split("`")
    if len(pieces) % 2 == 0:
        return html.escape(text)
    return "".join(f"<code>{html.escape(p)}</code>" if n % 2 else html.escape(p) for n, p in enumerate(pieces))


def _default(schema: Mapping[str, Any]) -> str:
    return f"default {html.escape(str(schema['default']))}" if "default" in schema else "required"
