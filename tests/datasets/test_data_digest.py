"""What of a data set's files counts, and where they are looked for."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from aerialkd.datasets.data_digest import data_digest


@pytest.fixture
def root(tmp_path):
    """Files of every kind in VisDrone's layout."""
    for folder, name, text in (
        ('images', 'a.jpg', 'image'),
        ('images', 'b.jpg', 'other'),
        ('annotations', 'a.txt', '1,2,3,4,1,4,0,0'),
        ('annotations', 'b.txt', ''),
    ):
        (tmp_path / 'root' / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / 'root' / folder / name).write_text(text)
    return tmp_path / 'root'


def loader(root, **options):
    dataset = dict(type='aerialkd.VisDroneDataset', data_root=str(root), **options)
    wrapped = dict(type='ConcatDataset', datasets=[dataset])
    return dict(batch_size=2, dataset=dict(type='RepeatDataset', dataset=wrapped))


def test_annotations_count_with_their_content_and_images_with_their_sizes(root):
    before = data_digest(loader(root))
    assert len(before) == 64
    file = root / 'annotations/a.txt'
    text = file.read_text()
    file.write_text(text.replace('1,2', '1,5'))  # as long as before
    assert data_digest(loader(root)) != before
    file.write_text(text)
    os.utime(file, (1, 1))
    os.utime(root / 'images/a.jpg', (1, 1))
    assert data_digest(loader(root)) == before
    for name, content in (('c.jpg', 'new'), ('a.jpg', 'a longer image')):
        (root / 'images' / name).write_text(content)
        assert data_digest(loader(root)) != before
    (root / 'images/c.jpg').unlink()
    (root / 'images/a.jpg').write_text('image')
    (root / 'images/.hidden').write_text('x')
    assert data_digest(loader(root)) == before
    (root / 'annotations/b.txt').rename(root / 'annotations/d.txt')
    assert data_digest(loader(root)) != before


def test_where_the_folders_lie_does_not_matter(root, tmp_path, monkeypatch):
    before = data_digest(loader(root))
    moved = shutil.copytree(root, tmp_path / 'moved')
    assert data_digest(loader(moved)) == before
    monkeypatch.chdir(tmp_path)
    assert data_digest(loader('moved/')) == before
    prefix = dict(img_path='moved/images', ann_path='moved/annotations')
    assert data_digest(loader('', data_prefix=prefix)) == before


def test_only_what_is_named_counts(root):
    coco = root / 'coco.json'
    coco.write_text(json.dumps(dict(images=[])))
    dataset = dict(
        type='CocoDataset',
        data_root=str(root),
        ann_file='coco.json',
        data_prefix=dict(img='images/'),
    )
    before = data_digest(dict(dataset=dataset))
    (root / 'annotations/a.txt').write_text('another')
    assert data_digest(dict(dataset=dataset)) == before
    coco.write_text(json.dumps(dict(images=[1])))
    assert data_digest(dict(dataset=dataset)) != before


def test_a_layout_of_its_own_is_looked_for_below_the_root(root):
    xml = dict(type='XMLDataset', data_root=str(root), ann_file='list.txt')
    before = data_digest(dict(dataset=xml))
    (root / 'annotations/a.txt').write_text('another')
    assert data_digest(dict(dataset=xml)) != before


def test_scenes_that_a_measure_reads_count(root):
    scenes = dict(img_path=str(root / 'images'), ann_path=str(root / 'annotations'))
    measure = dict(type='aerialkd.RotatedMetric', merging=dict(scenes=scenes))
    before = data_digest(measure)
    assert before
    (root / 'annotations/a.txt').write_text('another')
    assert data_digest(measure) != before


def test_what_is_not_here_has_none(tmp_path):
    assert data_digest(loader(tmp_path / 'nowhere')) == ''
    assert data_digest(None, dict(type='ToyDataset'), []) == ''
    assert data_digest(dict(type='CocoDataset', data_root='', ann_file='')) == ''
