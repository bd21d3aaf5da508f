"""What student and teacher may differ in, loss by loss, as docs/teachers.md has it."""

import re

import pytest
from mmengine.registry import MODELS

from aerialkd.errors import ConfigError, ShapeError, TeacherError
from aerialkd.losses import DistillLoss
from aerialkd.registry import MODELS as OURS
from tests.builders import distill, retinanet
from tests.differing import DIFFERENCES, build, outcomes
from tests.processes import ROOT
from tests.shared_batch import LOSSES


def table():
    """(difference, loss, cell) of the page."""
    lines = (ROOT / 'docs' / 'teachers.md').read_text().splitlines()
    rows = [line.strip('|').split('|') for line in lines if line.startswith('|')]
    header, _, *body = rows
    return [
        (row[0].strip(), loss, cell.strip())
        for row in body
        for names, cell in zip(header[1:], row[1:], strict=True)
        for loss in re.findall(r'`(\w+)`', names)
    ]


TABLE = table()


def test_the_page_has_every_loss_and_difference():
    losses = {
        name for name, kind in OURS.module_dict.items() if issubclass(kind, DistillLoss)
    }
    assert {loss for _, loss, _ in TABLE} == losses == set(LOSSES)
    assert {difference for difference, _, _ in TABLE} == set(DIFFERENCES)
    assert len(TABLE) == len(losses) * len(DIFFERENCES)
    assert {cell for _, _, cell in TABLE} == {'yes', 'no', 'connector'}


@pytest.mark.parametrize(('difference', 'loss', 'cell'), TABLE)
def test_what_the_page_says(difference, loss, cell):
    outcome = outcomes(difference)[loss]
    if cell == 'yes':
        assert isinstance(outcome, float), outcome
        assert 0 < outcome < float('inf')
        return
    assert isinstance(outcome, (ConfigError, ShapeError)), outcome
    # A way out, and a line that can be read.
    assert re.search(
        r'Train both|[Cc]orrect|Choose|Set |connector|Record|Use |need a ', str(outcome)
    )
    assert len(str(outcome)) < 500


def test_says_only_what_differs():
    assert str(outcomes('strides')['BCKDLoss']) == (
        'BCKDLoss compares the outputs of the heads prior by prior, but '
        "prior_generator differs: student's AnchorGenerator(strides=((8.0, 8.0), "
        "(16.0, 16.0), (32.0, 32.0), (64.0, 64.0))), teacher's AnchorGenerator("
        'strides=((16.0, 16.0), (32.0, 32.0), (64.0, 64.0), (128.0, 128.0))). Train '
        'both with the same, or distil features.'
    )


# Without the batch, on class scores.
SCORES = dict(recorder='head', data_idx=0)


@pytest.mark.parametrize('loss', ['aerialkd.CWDLoss', 'mmrazor.ChannelWiseDivergence'])
@pytest.mark.parametrize(
    ('difference', 'said'),
    [
        ('nothing', None),
        ('channels', None),
        ('coder', None),
        ('strides', r'loss_\w+ compares .* prior_generator differs'),
        ('offset', 'prior_generator differs'),
        ('classes', 'student has 3 classes, .* teacher 5'),
        ('activation', 'student has 3 classes, .* a softmax'),
    ],
)
def test_a_loss_that_cannot_see_the_heads(loss, difference, said):
    def compare():
        model = build(difference, {'CWDLoss': ('head', {})})
        distiller = dict(
            type='aerialkd.DetectionDistiller',
            recorders=dict(head=dict(type='HeadOutputs')),
            distill_losses=dict(scores=dict(type=loss)),
            loss_forward_mappings=dict(scores=SCORES),
        )
        cfg = distill(
            architecture=model.student,
            teacher=model.teacher,
            distiller=distiller,
            check_classes=False,
        )
        return MODELS.build(cfg)

    if said is None:
        compare()
        return
    with pytest.raises(ConfigError, match=said):
        compare()


def test_classes_are_the_business_of_every_loss():
    with pytest.raises(TeacherError, match='predicts 5 classes, the student 3'):
        MODELS.build(distill(teacher=retinanet(5)))
