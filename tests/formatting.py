"""MMEngine lays out its config at each start and for each checkpoint: here once a text.

It takes half a second each time, as long as a miniature training.
"""

from __future__ import annotations

from typing import Any

from yapf.yapflib import yapf_api

_format = yapf_api.FormatCode
_done: dict[str, tuple[str, bool]] = {}


def format_once(text: str, **options: Any) -> tuple[str, bool]:
    """What yapf makes of a text."""
    key = f'{options}{text}'
    if key not in _done:
        _done[key] = _format(text, **options)
    return _done[key]


yapf_api.FormatCode = format_once
