"""`dataset.json` as it is written: a line for each entry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any


def bank_text(content: Mapping[str, Any]) -> str:
    """The file's content as JSON with a line for each entry, the keys in their order."""
    parts = []
    for key, value in content.items():
        if key == "prompt_dataset":
            lines = ",\n".join(f"    {_line(entry)}" for entry in value)
            parts.append(f"  {_line(key)}: [\n{lines}\n  ]")
        else:
            parts.append(f"  {_line(key)}: {_line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _line(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
