"""Generated text between two comments of a Markdown file."""

from __future__ import annotations

from pathlib import Path

from aerialkd.errors import ConfigError
from aerialkd.files import write_whole


def markers(pair: str) -> tuple[str, str]:
    """The comments before and behind the tables of a pair."""
    what = f'tools/compare.py --pair {pair}'
    return f'<!-- {what}: begin -->', f'<!-- {what}: end -->'


def update(file: Path, pair: str, text: str) -> None:
    """Put a text between the comments of a pair.

    Raises:
        ConfigError: if the file does not have each of them once, in this order.
    """
    begin, end = markers(pair)
    try:
        content = file.read_text(encoding='utf-8')
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'{file}: cannot be read: {error}') from error
    once = content.count(begin) == 1 == content.count(end)
    if not once or content.index(begin) > content.index(end):
        raise ConfigError(
            f'{file}: expected the two lines {begin} and {end}, each once, with the '
            'tables of this pair between them; add them where the tables shall stand.'
        )
    before, _, rest = content.partition(begin)
    behind = rest.partition(end)[2]
    new = f'{before}{begin}\n\n{text.strip()}\n\n{end}{behind}'
    write_whole(file, new.encode())
