import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from aerialkd.errors import BoxTypeError, RecordError
from aerialkd.structures import BatchContext


def sample(boxes, img_shape=(24, 32), wrap=lambda boxes: boxes):
    data = DetDataSample(metainfo=dict(img_shape=img_shape))
    boxes = torch.tensor(boxes, dtype=torch.float32)
    data.gt_instances = InstanceData(
        bboxes=wrap(boxes), labels=torch.zeros(len(boxes), dtype=torch.long)
    )
    return data


def test_masks_are_drawn_against_the_padded_batch():
    # The box ends at 24 px, the image too; the batch is padded to 48 rows.
    batch = BatchContext([sample([[0, 0, 32, 22]])], (48, 32))
    mask = batch.rasterize((6, 4))[0]
    assert mask[:, 0].tolist() == [1, 1, 1, 1, 0, 0]


def test_box_objects_and_tensors_give_the_same_context():
    plain = BatchContext([sample([[1, 2, 9, 10]])], (32, 32))
    boxed = BatchContext([sample([[1, 2, 9, 10]], wrap=HorizontalBoxes)], (32, 32))
    assert torch.equal(plain.boxes, boxed.boxes)
    assert not boxed.is_rotated


def test_flattened_boxes_know_their_image():
    empty = sample([])
    empty.gt_instances.bboxes = torch.zeros(0, 4)
    batch = BatchContext(
        [sample([[0, 0, 4, 4]] * 2), empty, sample([[0, 0, 2, 8]])], (32, 32)
    )
    assert batch.image_index.tolist() == [0, 0, 2]
    assert batch.areas.tolist() == [16, 16, 16]
    assert batch.labels.shape == (3,)
    assert batch.num_images == 3


def test_rotated_area_and_refusal():
    batch = BatchContext([sample([[10, 10, 6, 4, 0.5]])], (32, 32))
    assert batch.is_rotated
    assert batch.areas.tolist() == [24]
    with pytest.raises(BoxTypeError, match='MyLoss serves horizontal'):
        batch.require_horizontal('MyLoss')


def test_mixed_box_types_are_refused():
    with pytest.raises(BoxTypeError, match=r'\[4, 5\] columns'):
        BatchContext([sample([[0, 0, 4, 4]]), sample([[5, 5, 4, 4, 0.1]])], (32, 32))


def test_missing_assignment_is_an_error():
    batch = BatchContext([sample([[0, 0, 4, 4]])], (32, 32))
    with pytest.raises(RecordError, match='none were recorded'):
        _ = batch.assigned


def test_ignored_regions_are_available():
    data = sample([[0, 0, 4, 4]])
    data.ignored_instances = InstanceData(bboxes=torch.tensor([[8.0, 8, 16, 16]]))
    batch = BatchContext([data, sample([[0, 0, 4, 4]])], (32, 32))
    assert [len(boxes) for boxes in batch.ignored_boxes_list] == [1, 0]


def test_ranks_and_relative_areas():
    batch = BatchContext(
        [sample([[0, 0, 12, 16]] * 2), sample([[0, 0, 24, 16]], (16, 24))], (32, 32)
    )
    assert batch.rank_in_image.tolist() == [0, 1, 0]
    assert batch.boxes_per_image.tolist() == [2, 1]
    # Of the image (24 x 32 and 16 x 24), not of the padded batch.
    assert batch.relative_areas.tolist() == [0.25, 0.25, 1.0]


def test_cells_of_padding_are_known():
    batch = BatchContext(
        [sample([[0, 0, 4, 4]], (24, 32)), sample([[0, 0, 4, 4]], (32, 20))], (32, 32)
    )
    valid = batch.valid_cells((4, 4))
    assert valid[0].all(1).tolist() == [True, True, True, False]
    assert valid[1].all(0).tolist() == [True, True, True, False]  # 20 px: half a cell
    priors = batch.valid_priors([torch.zeros(2, 6, 4, 4), torch.zeros(2, 6, 1, 1)], 34)
    assert priors[0].tolist() == [True] * 24 + [False] * 8 + [True] * 2
    whole = BatchContext([sample([[0, 0, 4, 4]], (32, 32))], (32, 32))
    assert whole.valid_cells((4, 4)) is None
    assert whole.valid_priors([torch.zeros(1, 6, 4, 4)], 32) is None
