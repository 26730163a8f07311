"""Users' files: YAML (several documents) or JSON, as plain mappings."""

from __future__ import annotations

from typing import Any

import yaml

from octopus_hub.model.errors import InvalidSpec


class _Loader(yaml.SafeLoader):
    """YAML in which ``on`` is a text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_documents(text: str, source: str) -> list[dict[str, Any]]:
    """Return the documents of a text; raises InvalidSpec."""
    try:
        documents = [each for each in yaml.load_all(text, _Loader) if each is not None]
    except yaml.YAMLError as error:
        raise InvalidSpec(f"{source} is not YAML: {error}") from None
    for each in documents:
        if not isinstance(each, dict):
            raise InvalidSpec(f"{source} holds a document that is not a mapping")
    return documents
