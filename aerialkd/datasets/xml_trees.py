"""XML annotation files as trees whose elements know their lines."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.parsers import expat

from aerialkd.datasets.text_fields import finite_number, read_text
from aerialkd.errors import AnnotationError


@dataclass(eq=False)
class Element:
    """An element of a file.

    Attributes:
        file: where it is.
        line: of its start tag, from 1.
        tag: its name.
        parent: None for the root.
        number: which child of that tag it is, from 1.
        text: all characters directly in it.
        children: elements directly in it.
        counts: how many of them have each tag.
    """

    file: Path
    line: int
    tag: str
    parent: Element | None = None
    number: int = 1
    text: str = ''
    children: list[Element] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def path(self) -> str:
        """Where it is below the root, such as ``objects/object[2]/name``."""
        if self.parent is None:
            return ''
        several = self.parent.counts[self.tag] > 1
        name = f'{self.tag}[{self.number}]' if several else self.tag
        return f'{self.parent.path}/{name}'.lstrip('/')

    @property
    def where(self) -> str:
        """``file:line: path``, for messages."""
        return f'{self.file}:{self.line}: {self.path or self.tag}'

    def child(self, tag: str) -> Element:
        """The one child of that tag.

        Raises:
            AnnotationError: if there is none, or more than one.
        """
        found = self.elements(tag)
        if not found:
            raise AnnotationError.at(
                f'{self.file}:{self.line}: {f"{self.path}/{tag}".lstrip("/")}',
                'missing element',
                f'got none in {self.tag}, expected one; add it, or restore the file.',
            )
        if len(found) > 1:
            raise AnnotationError.at(
                found[1].where,
                'repeated element',
                f'got {len(found)} in {self.tag}, expected one; delete the others.',
            )
        return found[0]

    def elements(self, tag: str) -> list[Element]:
        """All children of that tag.

        Raises:
            AnnotationError: if there is text between the children.
        """
        if self.text.strip():
            raise AnnotationError.at(
                self.where,
                'stray text',
                f'got {self.text.strip()[:40]!r} between elements, expected none; '
                'delete it, or restore the file.',
            )
        return [child for child in self.children if child.tag == tag]

    def word(self, tag: str) -> str:
        """The text of a child, without white space around it.

        Raises:
            AnnotationError: if there is no such child, more than one, or one that is
                more than text.
        """
        child = self.child(tag)
        if child.children:
            raise AnnotationError.at(
                child.where,
                'stray element',
                f'got {child.children[0].tag[:40]} in it, expected text only; restore '
                'the file.',
            )
        return child.text.strip()

    def number_of(self, tag: str) -> float:
        """The finite number in a child.

        Raises:
            AnnotationError: as for :meth:`word`, and if it is no such number.
        """
        return finite_number(self.word(tag), self.child(tag).where, 'correct it')

    def flag(self, tag: str) -> int:
        """The 0 or 1 in a child.

        Raises:
            AnnotationError: as for :meth:`word`, and if it is something else.
        """
        text = self.word(tag)
        if text not in ('0', '1'):
            raise AnnotationError.at(
                self.child(tag).where,
                'no flag',
                f'got {text[:40]!r}, expected 0 or 1; correct it.',
            )
        return int(text)


def read_xml(file: Path, root: str) -> Element:
    """The root of an XML file.

    A DOCTYPE is refused where it begins: it could define entities that unfold to
    gigabytes or name other files, and no layout of annotations needs one.

    Args:
        file: in UTF-8.
        root: the tag that the root must have.

    Raises:
        AnnotationError: names file and line if it is no text, no well-formed XML, has a
            DOCTYPE or another root.
    """
    text = read_text(file)
    builder = _Builder(file)
    try:
        builder.parser.Parse(text, True)
    except expat.ExpatError as error:
        raise AnnotationError.at(
            f'{file}:{error.lineno}',
            'no well-formed XML',
            f'got {expat.ErrorString(error.code)} at column {error.offset + 1}, '
            f'expected an {root} element; restore the file.',
        ) from error
    found = builder.root
    assert found is not None, 'well-formed XML has a root'  # noqa: S101
    if found.tag != root:
        hint = ''
        if found.tag == 'annotation':
            hint = "; looks like VOC: read it with MMDetection's XMLDataset"
        raise AnnotationError.at(
            f'{file}:{found.line}',
            'wrong root',
            f'got {found.tag[:40]!r}, expected {root!r}{hint}; restore the file.',
        )
    return found


class _Builder:
    """Elements from the events of a parser."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.root: Element | None = None
        self.open: list[Element] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartDoctypeDeclHandler = self.refuse_doctype
        self.parser.StartElementHandler = self.start
        self.parser.EndElementHandler = lambda tag: self.open.pop()
        self.parser.CharacterDataHandler = self.add_text

    def start(self, tag: str, _attributes: dict[str, str]) -> None:
        parent = self.open[-1] if self.open else None
        element = Element(self.file, self.parser.CurrentLineNumber, tag, parent)
        if parent is None:
            self.root = element
        else:
            parent.counts[tag] += 1
            element.number = parent.counts[tag]
            parent.children.append(element)
        self.open.append(element)

    def add_text(self, text: str) -> None:
        # expat hands over none outside the root.
        self.open[-1].text += text

    def refuse_doctype(self, name: str, *_: object) -> None:
        raise AnnotationError.at(
            f'{self.file}:{self.parser.CurrentLineNumber}',
            'DOCTYPE',
            f'got one of {name[:40]!r}, expected none, as it may do harm; restore the '
            'file.',
        )
