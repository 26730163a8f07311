"""TypeScript types of what the service answers and streams, made from the same JSON Schema.

Fields that have a default are optional, as they are left out on the wire; the default stands beside them.
"""

from __future__ import annotations

import json
from typing import Any

from octopus_hub.model.answers import Frame, PlanAnswer, TaskSetView
from octopus_hub.model.record import Record
from octopus_hub.model.status import Phase
from octopus_hub.service.openapi import Problem
from tools.generation.shapes import PREFIX, definitions

HEADER = """// Generated from octopus_hub/model by `make generate`; do not edit.
// A field that has its default is left out on the wire; the default stands beside the field.
"""
_RENAMED = {"Record": "RunRecord"}  # TypeScript has a Record of its own


def module() -> str:
    """Return the module's text."""
    parts = [HEADER]
    for name, schema in definitions(Frame, TaskSetView, PlanAnswer, Record, Problem).items():
        parts.append(_enumeration(name, schema) if "enum" in schema else _interface(name, schema))
    phases = ", ".join(json.dumps(phase.value) for phase in Phase)
    ends = ", ".join(json.dumps(phase.value) for phase in Phase if phase.terminal)
    parts.append(f"export const PHASES: readonly Phase[] = [{phases}];\n")
    parts.append(f"export const TERMINAL_PHASES: readonly Phase[] = [{ends}];\n")
    return "\n".join(parts)


def _enumeration(name: str, schema: dict[str, Any]) -> str:
    return f"{_comment(schema)}export type {_name(name)} = {type_of(schema)};\n"


def _interface(name: str, schema: dict[str, Any]) -> str:
    lines = [f"{_comment(schema)}export interface {_name(name)} {{"]
    required = schema.get("required", ())
    for field, of in schema["properties"].items():
        mark = "" if field in required else "?"
        default = "" if field in required else _default(of)
        lines.append(f"  {field}{mark}: {type_of(of)};{default}")
    lines.append("}\n")
    return "\n".join(lines)


def type_of(schema: dict[str, Any]) -> str:
    """Return the TypeScript type of a schema."""
    if "$ref" in schema:
        return _name(schema["$ref"].removeprefix(PREFIX))
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(type_of(option) for option in schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(json.dumps(value) for value in schema["enum"])
    if schema.get("type") == "array":
        inner = type_of(schema.get("items", {}))
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if schema.get("type") == "object":
        values = schema.get("additionalProperties")
        return f"{{ [key: string]: {type_of(values) if isinstance(values, dict) else 'unknown'} }}"
    names = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean", "null": "null"}
    return names.get(schema.get("type", ""), "unknown")


def _name(name: str) -> str:
    return _RENAMED.get(name, name)


def _default(schema: dict[str, Any]) -> str:
    default = schema.get("default")
    return "" if default is None else f" // {json.dumps(default)}"


def _comment(schema: dict[str, Any]) -> str:
    text = schema.get("description", "").split("\n\n")[0].replace("``", "`").replace("*/", "* /")
    return f"/** {' '.join(text.split())} */\n" if text else ""
