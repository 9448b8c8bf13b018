"""Pages and the description of the interface; none asks another host for anything."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from plurality.serving.access import Client
from plurality.serving.service import Endpoint, Service

REF = "#/components/schemas/{model}"
STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{background:#f3f3f3;padding:.1rem .3rem}pre{overflow:auto;padding:.7rem}h2{margin-top:2rem}"
)


def openapi(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """The interface as OpenAPI 3.1.

    endpoints    all routes
    """
    bodies: list[type[BaseModel]] = list(dict.fromkeys(e.body for e in endpoints if e.body is not None))
    _, schemas = models_json_schema([(body, "validation") for body in bodies], ref_template=REF)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        error = {
            "description": "why not",
            "content": {"application/json": {"schema": {"$ref": REF.format(model="Error")}}},
        }
        told: dict[str, Any] = {
            "summary": endpoint.summary,
            "responses": {"200": {"description": "OK"}, "default": error},
        }
        if endpoint.body is not None:
            ref = {"$ref": REF.format(model=endpoint.body.__name__)}
            told["requestBody"] = {"required": True, "content": {"application/json": {"schema": ref}}}
        if endpoint.scope is not None:
            told["security"] = [{"token": [endpoint.scope]}]
        if "{user_id}" in endpoint.path:
            told["parameters"] = [{"name": "user_id", "in": "path", "required": True, "schema": {"type": "string"}}]
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = told
    error_schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "plurality",
            "version": "1",
            "description": "Rewards that know whose preference they predict.",
        },
        "paths": paths,
        "components": {
            "schemas": {**schemas.get("$defs", {}), "Error": error_schema},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def docs(endpoints: Sequence[Endpoint]) -> Response:
    """The same to read.

    endpoints    all routes
    """
    schemas = openapi(endpoints)["components"]["schemas"]
    parts = [f"<!doctype html><html lang=en><meta charset=utf-8><title>plurality</title><style>{STYLE}</style>"]
    parts.append("<h1>What this server answers</h1><p>Also as <a href=openapi.json>openapi.json</a>. ")
    parts.append("Bodies and answers are JSON; an error is <code>{&quot;error&quot;: &quot;why&quot;}</code>.</p>")
    for endpoint in endpoints:
        scope = f" · token with scope {endpoint.scope}" if endpoint.scope else ""
        parts.append(
            f"<h2><code>{endpoint.method} {escape(endpoint.path)}</code></h2><p>{escape(endpoint.summary)}{scope}</p>"
        )
        if endpoint.body is not None:
            parts.append(_fields(schemas, endpoint.body.__name__))
    return HTMLResponse("".join(parts))


def _fields(schemas: dict[str, Any], name: str) -> str:
    """The fields of a class, and of those it holds, as nested lists."""
    schema, rows = schemas[name], []
    for field, about in schema.get("properties", {}).items():
        must = " (required)" if field in schema.get("required", ()) else ""
        said = f": {escape(about['description'])}" if "description" in about else ""
        inner = "".join(_fields(schemas, one) for one in _named(about))
        rows.append(f"<li><code>{field}</code> {escape(_kind(about))}{must}{said}{inner}</li>")
    return f"<ul>{''.join(rows)}</ul>"


def _kind(about: dict[str, Any]) -> str:
    if "anyOf" in about:
        return " or ".join(dict.fromkeys(_kind(one) for one in about["anyOf"] if one.get("type") != "null"))
    if "items" in about:
        return f"list of {_kind(about['items'])}"
    if "enum" in about:
        return " or ".join(map(str, about["enum"]))
    return about.get("$ref", "").rpartition("/")[2] or about.get("type", "anything")


def _named(about: dict[str, Any]) -> list[str]:
    """Names of the classes that a field holds."""
    inner = [about, *about.get("anyOf", ()), about.get("items", {})]
    inner += [one["items"] for one in about.get("anyOf", ()) if "items" in one]
    return list(dict.fromkeys(one["$ref"].rpartition("/")[2] for one in inner if "$ref" in one))


async def ask(service: Service, client: Client, request: Request, body: bytes) -> Response:
    """The page to answer on."""
    return HTMLResponse(files("plurality.serving").joinpath("ask.html").read_text(encoding="utf-8"))


async def study(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """What the page shows first."""
    study = service.learning.study
    assert study is not None
    return {
        "title": study.title,
        "intro": study.intro,
        "consent": study.consent,
        "thanks": study.thanks,
        "ask": study.ask,
        "answers": min(study.answers, len(study.questions)),
        "scale": study.scale,
        "how": study.how,
        "about": [{"name": a.name, "ask": a.ask, "options": a.options} for a in study.about],
    }
