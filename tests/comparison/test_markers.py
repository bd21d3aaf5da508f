"""Generated text takes its place between two comments."""

from pathlib import Path

import pytest

from aerialkd.comparison.markers import markers, update
from aerialkd.errors import ConfigError

README = Path(__file__).parents[2] / 'configs/comparison/README.md'


def test_only_what_stands_between_is_replaced(tmp_path):
    file = tmp_path / 'README.md'
    (begin, end), others = markers('pair'), markers('pair_2')
    file.write_text(
        f'above\n{begin}\nold\n{end}\nbetween\n{others[0]}\nkept\n{others[1]}\nbelow\n'
    )
    for text in ('new\n', 'newer, with a \\1 in it'):
        update(file, 'pair', text)
        assert file.read_text() == (
            f'above\n{begin}\n\n{text.strip()}\n\n{end}\n'
            f'between\n{others[0]}\nkept\n{others[1]}\nbelow\n'
        )


@pytest.mark.parametrize('text', ['', '{begin}', '{end}{begin}', '{begin}{end}{end}'])
def test_a_file_without_the_comments_is_left_alone(tmp_path, text):
    file = tmp_path / 'README.md'
    begin, end = markers('pair')
    file.write_text(text.format(begin=begin, end=end))
    before = file.read_text()
    with pytest.raises(ConfigError, match='expected the two lines <!-- tools/compare'):
        update(file, 'pair', 'new')
    assert file.read_text() == before
    with pytest.raises(ConfigError, match='cannot be read'):
        update(tmp_path / 'gone.md', 'pair', 'new')


def test_the_shipped_page_has_a_place_for_the_demo():
    text = README.read_text()
    assert all(text.count(marker) == 1 for marker in markers('demo_retinanet'))
