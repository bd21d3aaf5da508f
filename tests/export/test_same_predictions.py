import pytest
import torch
from mmengine.structures import InstanceData

from aerialkd.export import same_predictions
from aerialkd.export.same_predictions import odd_sized_batch, prediction_difference
from tests.builders import retinanet
from tests.exports import build, config


def test_difference_of_two_detectors():
    batch = odd_sized_batch(config(retinanet(), type='BaseDetDataset', lazy_init=True))
    assert [tuple(i.shape) for i in batch['inputs']] == [(3, 231, 317), (3, 147, 203)]
    first, second = build(retinanet()), build(retinanet())
    assert prediction_difference(first, second, batch) == 0
    with torch.no_grad():
        second.bbox_head.retina_reg.bias += 0.25
    assert prediction_difference(first, second, batch) >= 0.25


@pytest.mark.parametrize(
    ('first', 'second', 'expected'),
    [
        ([1.0, float('inf')], [1.5, float('inf')], 0.5),
        ([1.0, 2.0], [1.0], float('inf')),
        ([float('nan')], [float('nan')], float('nan')),
        ([], [], 0.0),
    ],
)
def test_degenerate_values(monkeypatch, first, second, expected):
    values = iter([first, second])
    monkeypatch.setattr(
        same_predictions,
        '_outputs',
        lambda *_: [torch.zeros(1), torch.tensor(next(values))],
    )
    assert prediction_difference(None, None, {}) == pytest.approx(expected, nan_ok=True)


def test_tensors_of_predictions():
    instances = InstanceData(scores=torch.ones(2), bboxes=torch.zeros(2, 4))
    found = list(same_predictions._tensors([(torch.ones(1),), [instances]]))
    assert [tuple(tensor.shape) for tensor in found] == [(1,), (2, 4), (2,)]
