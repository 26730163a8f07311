"""Types of fields in words, and tables of a struct's fields for the reference pages, made from the JSON Schema."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from tools.generation.fields import cell, documented, plain

PREFIX = "#/$defs/"


def definitions(*kinds: type[Any]) -> dict[str, dict[str, Any]]:
    """Return the schema of each kind and of all that it refers to, by name, in the order they are met."""
    _, found = msgspec.json.schema_components(kinds, ref_template=PREFIX + "{name}")
    return dict(found)


def field_table(struct: type[msgspec.Struct], schema: dict[str, Any], said: dict[str, str] | None = None) -> str:
    """Return a Markdown table of a struct's fields; ``said`` has words for fields that the source leaves without."""
    words = {**(said or {}), **{name: text for name, text in documented(struct).items() if text}}
    lines = ["| field | type | default | |", "|---|---|---|---|"]
    for name, of in schema["properties"].items():
        needed = name in schema.get("required", ())
        default = "**needed**" if needed else shown_default(of)
        lines.append(f"| `{name}` | {cell(type_words(of))} | {default} | {cell(plain(words.get(name, '')))} |")
    return "\n".join(lines)


def type_words(schema: dict[str, Any], link: bool = True) -> str:
    """Return a schema's type in words: ``text``, ``list of [Role](#role)``, ``map of text to integer``."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(PREFIX)
        return f"[{name}](#{name.lower()})" if link else name
    if "anyOf" in schema:
        options = [type_words(option, link) for option in schema["anyOf"] if option.get("type") != "null"]
        return " or ".join(options)
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {type_words(schema.get('items', {}), link)}"
    if schema.get("type") == "object":
        inner = schema.get("additionalProperties")
        return f"map of text to {type_words(inner, link)}" if isinstance(inner, dict) and inner else "map"
    return {"string": "text", "number": "number", "integer": "integer", "boolean": "true or false"}.get(
        schema.get("type", ""), "anything"
    )


def shown_default(schema: dict[str, Any]) -> str:
    """Return a default as it is written; nothing for empty ones."""
    default = schema.get("default")
    if default in (None, "", [], {}):
        return ""
    if isinstance(default, float) and default.is_integer():
        default = int(default)
    return f"`{json.dumps(default) if not isinstance(default, str) else default}`"
