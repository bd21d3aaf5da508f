import os
from pathlib import Path

import pytest

from aerialkd.datasets.xml_trees import read_xml
from aerialkd.errors import AnnotationError

TEXT = """<?xml version="1.0" encoding="ISO-8859-1"?>
<a>
  <b>
    <c at="1"> 1.5
    </c>
  </b>
  <b><c>é &lt; <!-- no --><![CDATA[&]]></c></b><d/>
</a>
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / 'a.xml'


def test_lines_paths_and_text(file: Path) -> None:
    # Files are UTF-8, whatever they say of themselves.
    file.write_text(TEXT, encoding='utf-8')
    root = read_xml(file, 'a')
    first, second = root.elements('b')
    assert (root.line, first.line, second.line) == (2, 3, 7)
    assert (first.path, second.child('c').path) == ('b[1]', 'b[2]/c')
    assert first.child('c').where == f'{file}:4: b[1]/c'
    assert (root.where, root.child('d').where) == (f'{file}:2: a', f'{file}:7: d')
    assert first.number_of('c') == 1.5
    assert second.word('c') == 'é < &'
    assert root.word('d') == ''
    with pytest.raises(AnnotationError, match=r'a\.xml:7: d: no flag: got'):
        root.flag('d')
    with pytest.raises(AnnotationError, match=r'a\.xml:2: e: missing element'):
        root.child('e')


def test_nothing_is_expanded_or_fetched(file: Path, tmp_path: Path) -> None:
    """A billion laughs, and an entity whose reading would not end."""
    os.mkfifo(tmp_path / 'pipe')
    laughs = ''.join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 30))
    pipe = f'<!ENTITY p SYSTEM "{tmp_path / "pipe"}">'
    file.write_text(f'<!DOCTYPE a [<!ENTITY l0 "ha">{laughs}{pipe}]>\n<a>&l29;&p;</a>')
    with pytest.raises(AnnotationError) as error:
        read_xml(file, 'a')  # neither 10**29 laughs nor the pipe would end
    assert str(error.value).startswith(f"{file}:1: DOCTYPE: got one of 'a', expected ")


def test_deep_nesting_is_no_trouble(file: Path) -> None:
    file.write_text('<a>' * 20000 + '</a>' * 20000)
    root = read_xml(file, 'a')
    assert root.child('a').child('a').path == 'a/a'
    del root
