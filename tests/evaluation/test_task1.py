import zipfile

import numpy as np
import pytest

from aerialkd.errors import AnnotationError, ConfigError, ShapeError
from aerialkd.evaluation.task1 import (
    SceneDetections,
    class_counts,
    read_task1,
    write_task1,
    zip_task1,
)

CLASSES = ('plane', 'ship', 'small-vehicle')
LINE = 'P1 0.5 1 2 3 2 3 4 1 4\n'


def detections(name, labels, scores, seed=0):
    boxes = np.random.default_rng(seed).uniform(-10, 20000, (len(labels), 8)).round(4)
    return SceneDetections(
        name, boxes, np.array(labels, np.int64), np.asarray(scores, np.float64)
    )


def test_lines_of_the_server(tmp_path):
    boxes = np.array([[1, 2, 3.14159, 2, 3, 4, -1e-9, 20000.5]])
    image = SceneDetections('P0006', boxes, np.array([1]), np.array([0.25]))
    write_task1(tmp_path / 'results', [image], CLASSES)
    files = {p.name: p.read_text() for p in (tmp_path / 'results').iterdir()}
    assert files == {
        'Task1_plane.txt': '',
        'Task1_ship.txt': 'P0006 0.25 1.0000 2.0000 3.1416 2.0000 3.0000 4.0000 '
        '0.0000 20000.5000\n',
        'Task1_small-vehicle.txt': '',
    }


def test_written_detections_are_read_back(tmp_path):
    images = [
        detections('P2', [2, 0, 0, 1], [0.9, 0.8, 1, 0], seed=1),
        detections('P1__600__0___450', [], []),
        detections('P1', [1], [1 / 3], seed=2),
    ]
    write_task1(tmp_path, images, CLASSES)
    first, second = read_task1(tmp_path, CLASSES)
    assert (first.name, second.name) == ('P1', 'P2')
    np.testing.assert_array_equal(first.boxes, images[2].boxes)
    np.testing.assert_array_equal(first.scores, images[2].scores)
    order = [1, 2, 3, 0]  # class by class
    np.testing.assert_array_equal(second.labels, images[0].labels[order])
    np.testing.assert_array_equal(second.boxes, images[0].boxes[order])
    np.testing.assert_array_equal(second.scores, images[0].scores[order])
    write_task1(tmp_path, [], CLASSES)
    assert read_task1(tmp_path, CLASSES) == []


@pytest.mark.parametrize('dtype', [np.float16, np.float32, np.float64])
def test_order_of_scores_survives(tmp_path, dtype):
    scores = [dtype(0.99)]
    for _ in range(50):  # neighbouring numbers
        scores.append(np.nextafter(scores[-1], dtype(0)))
    scores += [dtype(1e-7), np.nextafter(dtype(0), dtype(1)), dtype(0)]
    image = detections('P1', [0] * len(scores), scores)
    image = SceneDetections('P1', image.boxes, image.labels, np.array(scores, dtype))
    write_task1(tmp_path, [image], CLASSES)
    (read,) = read_task1(tmp_path, CLASSES)
    assert (np.diff(read.scores) < 0).all()
    np.testing.assert_array_equal(read.scores.astype(dtype), scores)


def write(folder, **files):
    for name in CLASSES:
        (folder / f'Task1_{name}.txt').write_text(files.get(name, ''))


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('P1 0.5 1 2 3 2 3 4 1\n', r'ship\.txt:2: wrong number of fields: got 9'),
        ('P1 0.5 1 2 3 2 3 4 1 4 5\n', r'ship\.txt:2: wrong number of fields: got 11'),
        ('P1 0.5 1 2 nan 2 3 4 1 4\n', r'ship\.txt:2: x2: no finite number'),
        ('P1 0.5 1 2 3 2 3 4 1 inf\n', r'ship\.txt:2: y4: no finite number'),
        ('P1 high 1 2 3 2 3 4 1 4\n', r'ship\.txt:2: score: no finite number'),
        ('P1 1_0 1 2 3 2 3 4 1 4\n', r'ship\.txt:2: score: no finite number'),
        ('P1 1.5 1 2 3 2 3 4 1 4\n', r'ship\.txt:2: score out of range: got 1\.5'),
        ('P1 -0.1 1 2 3 2 3 4 1 4\n', r'ship\.txt:2: score out of range: got -0\.1'),
    ],
)
def test_bad_line_is_named(tmp_path, text, message):
    write(tmp_path, ship=LINE + text)
    with pytest.raises(AnnotationError, match=message):
        read_task1(tmp_path, CLASSES)


def test_files_of_other_classes(tmp_path):
    with pytest.raises(ConfigError, match='nowhere: no such folder'):
        read_task1(tmp_path / 'nowhere', CLASSES)
    write(tmp_path)
    with pytest.raises(ConfigError, match=r"missing \[\], unknown \['ship'\]"):
        read_task1(tmp_path, ('plane', 'small-vehicle'))
    with pytest.raises(ConfigError, match=r"missing \['helipad'\], unknown \[\]"):
        read_task1(tmp_path, (*CLASSES, 'helipad'))


@pytest.mark.parametrize(
    ('change', 'error', 'message'),
    [
        (dict(name='a b'), ConfigError, 'name with white space'),
        (dict(name=''), ConfigError, 'name with white space'),
        (dict(labels=np.array([3])), ConfigError, 'label without a class: got 3'),
        (dict(labels=np.array([-1])), ConfigError, 'label without a class: got -1'),
        (
            dict(boxes=np.full((1, 8), np.nan)),
            AnnotationError,
            'box that is not finite',
        ),
        (dict(scores=np.array([np.nan])), AnnotationError, 'score outside 0 to 1'),
        (dict(scores=np.array([1.01])), AnnotationError, 'score outside 0 to 1'),
        (dict(boxes=np.zeros((1, 5))), ShapeError, r'got \(1, 5\), \(1,\), \(1,\)'),
        (dict(labels=np.zeros(2, int)), ShapeError, r'got \(1, 8\), \(2,\), \(1,\)'),
    ],
)
def test_what_cannot_be_written(tmp_path, change, error, message):
    fields = dict(
        name='P1',
        boxes=np.zeros((1, 8)),
        labels=np.zeros(1, np.int64),
        scores=np.ones(1),
    )
    good = SceneDetections(**fields)
    with pytest.raises(error, match=message):
        write_task1(
            tmp_path / 'new', [good, SceneDetections(**fields | change)], CLASSES
        )
    assert not (tmp_path / 'new').exists()


def test_an_interrupted_writer_leaves_nothing(tmp_path, monkeypatch):
    """Neither half a file nor some of the files."""
    from aerialkd.evaluation import task1

    write(tmp_path, plane=LINE)
    before = {p.name: p.read_text() for p in tmp_path.iterdir()}

    def lines(image, label):
        if label == 1:
            raise KeyboardInterrupt
        yield 'half a line'

    monkeypatch.setattr(task1, '_lines', lines)
    with pytest.raises(KeyboardInterrupt):
        write_task1(tmp_path, [detections('P1', [0], [1])], CLASSES)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == before


def test_archive_for_the_server(tmp_path):
    write_task1(tmp_path / 'a', [detections('P1', [0, 2], [1, 0.5])], CLASSES)
    path = zip_task1(tmp_path / 'a', CLASSES)
    assert path == tmp_path / 'a.zip'
    with zipfile.ZipFile(path) as archive:
        archive.extractall(tmp_path / 'b')
    names = [f'Task1_{name}.txt' for name in CLASSES]
    assert sorted(p.name for p in (tmp_path / 'b').iterdir()) == names
    for name in names:
        assert (tmp_path / 'a' / name).read_text() == (
            tmp_path / 'b' / name
        ).read_text()


def test_class_counts():
    images = [detections('a', [2, 0, 2], [1, 1, 1]), detections('b', [], [])]
    assert class_counts(images, CLASSES).tolist() == [1, 0, 2]
    assert class_counts([], CLASSES).tolist() == [0, 0, 0]
