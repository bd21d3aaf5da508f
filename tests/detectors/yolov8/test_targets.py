import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from aerialkd.detectors.yolov8 import PointTaskAlignedAssigner, complete_iou
from aerialkd.detectors.yolov8.targets import Objects, point_targets
from aerialkd.errors import ConfigError


def grid(rows, columns, stride=8):
    y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing='ij')
    return (torch.stack([x, y], -1).flatten(0, 1).float() + 0.5) * stride


def instances(boxes, labels=None):
    boxes = torch.tensor(boxes, dtype=torch.float).view(-1, 4)
    labels = labels or [0] * len(boxes)
    return InstanceData(bboxes=boxes, labels=torch.tensor(labels, dtype=torch.long))


def assign(assigner, scores, boxes, points, objects):
    return assigner.assign(
        scores, boxes, points, objects.boxes, objects.labels, objects.images
    )


def test_worked_example():
    """Two objects, four points in a row, alpha 1 and beta 2 for round numbers.

    The first spans points 0 to 2, the second 2 to 3; both want point 2.
    """
    points = torch.tensor([[4.0, 4], [12, 4], [20, 4], [28, 4]])
    objects = Objects.of([instances([[0, 0, 24, 8], [16, 0, 32, 8]], [0, 1])])
    # Point 0 finds the first object; point 1 its half, point 2 the second, 3 its half.
    boxes = torch.tensor(
        [[[0.0, 0, 24, 8], [0, 0, 12, 8], [16, 0, 32, 8], [16, 0, 24, 8]]]
    )
    scores = torch.tensor([[[0.5, 0.9], [1.0, 0.9], [0.4, 0.8], [0.9, 0.5]]])
    found = assign(
        PointTaskAlignedAssigner(2, 1.0, 2.0), scores, boxes, points, objects
    )
    assert found.objects.tolist() == [[0, 0, 1, 1]]
    u = complete_iou(boxes[0], objects.boxes[[0, 0, 1, 1]])
    aligned = torch.tensor([0.5, 1.0, 0.8, 0.5]) * u**2
    assert u[0] == u[2] == 1
    assert aligned[0] > aligned[1]
    assert aligned[2] > aligned[3]
    expected = [1.0, float(aligned[1] / aligned[0]), 1.0, float(aligned[3] / 0.8)]
    assert found.scores[0].tolist() == pytest.approx(expected)


def test_topk_looks_inside_the_object_only():
    """The best predictions lie outside: mmdet's assigner would leave no positive."""
    points = grid(4, 4)
    objects = Objects.of([instances([[0, 0, 16, 16]])])
    boxes = torch.tensor([[0.0, 0, 14, 14]]).expand(1, 16, 4).clone()
    inside = torch.tensor([0, 1, 4, 5])
    outside = torch.tensor([i for i in range(16) if i not in inside.tolist()])
    boxes[0, outside] = torch.tensor([0.0, 0, 16, 16])
    found = assign(
        PointTaskAlignedAssigner(topk=3), torch.ones(1, 16, 1), boxes, points, objects
    )
    assert (found.objects[0] >= 0).nonzero().flatten().tolist() == [0, 1, 4]


def test_a_contested_point_goes_to_the_higher_iou():
    """Though it is better aligned with the other object, whose class it is sure of."""
    points = torch.tensor([[8.0, 8]])
    objects = Objects.of([instances([[0, 0, 16, 32], [0, 0, 16, 16]], [0, 1])])
    boxes, scores = torch.tensor([[[0.0, 0, 16, 18]]]), torch.tensor([[[1.0, 0.1]]])
    u = complete_iou(boxes[0].expand(2, 4), objects.boxes)
    assert u[1] > u[0] > 0.1 * u[1]
    assigner = PointTaskAlignedAssigner(alpha=1.0, beta=1.0)
    found = assign(assigner, scores, boxes, points, objects)
    assert found.objects.tolist() == [[1]]
    assert found.scores[0].tolist() == pytest.approx([float(u[1])])


def test_no_overlap_no_positive():
    points, objects = grid(4, 4), Objects.of([instances([[0, 0, 16, 16]])])
    boxes = torch.tensor([[20.0, 20, 30, 30]]).expand(1, 16, 4)
    found = assign(
        PointTaskAlignedAssigner(), torch.ones(1, 16, 1), boxes, points, objects
    )
    assert (found.objects == -1).all()
    assert (found.scores == 0).all()


def loops(assigner, scores, boxes, points, objects):
    """The assignment with loops over images, objects and points."""
    n, length = scores.shape[:2]
    owner, target = np.full((n, length), -1), np.zeros((n, length))
    for image in range(n):
        wanted = {}
        mine = [m for m in range(len(objects.boxes)) if objects.images[m] == image]
        for m in mine:
            x1, y1, x2, y2 = objects.boxes[m].tolist()
            pairs = []
            for i, (x, y) in enumerate(points.tolist()):
                u = max(
                    0,
                    float(
                        complete_iou(boxes[image, i : i + 1], objects.boxes[m : m + 1])
                    ),
                )
                t = float(scores[image, i, objects.labels[m]]) ** 0.5 * u**6
                if x1 < x < x2 and y1 < y < y2 and t > 0:
                    pairs.append((t, u, i))
            for t, u, i in sorted(pairs, reverse=True)[: assigner.topk]:
                wanted.setdefault(i, []).append((u, t, m))
        kept = {i: max(claims) for i, claims in wanted.items()}
        for i, (_, t, m) in kept.items():
            best_t = max(c[1] for c in kept.values() if c[2] == m)
            best_u = max(c[0] for c in kept.values() if c[2] == m)
            owner[image, i], target[image, i] = m, t / best_t * best_u
    return owner, target


def test_against_loops():
    points = grid(8, 8)
    generator = torch.Generator().manual_seed(3)

    def random_boxes(count):
        low = torch.rand(count, 2, generator=generator) * 40
        return torch.cat(
            [low, low + 8 + 24 * torch.rand(count, 2, generator=generator)], 1
        )

    objects = Objects.of(
        [
            instances(random_boxes(12).tolist(), [i % 3 for i in range(12)]),
            instances([]),
            instances(random_boxes(5).tolist(), [i % 3 for i in range(5)]),
        ]
    )
    scores = torch.rand(3, 64, 3, generator=generator)
    half = 4 + 12 * torch.rand(3, 64, 1, generator=generator)
    boxes = torch.cat([points - half, points + half], -1)
    assigner = PointTaskAlignedAssigner(topk=4)
    found = assign(assigner, scores, boxes, points, objects)
    owner, target = loops(assigner, scores, boxes, points, objects)
    assert found.objects.tolist() == owner.tolist()
    assert (owner >= 0).sum() > 30
    np.testing.assert_allclose(found.scores.numpy(), target, rtol=2e-4)


def test_ignored_regions():
    """Background inside is left out of the class loss; positives inside are not."""
    points = grid(4, 4)
    boxes = torch.cat([points - 8, points + 8], 1)[None].expand(2, 16, 4)
    targets = point_targets(
        PointTaskAlignedAssigner(),
        points,
        torch.full((2, 16, 2), 0.5),
        boxes,
        Objects.of([instances([]), instances([[0, 0, 16, 16]], [1])]),
        Objects.of([instances([]), instances([[0, 0, 24, 16]])]),
    )
    assert (targets.labels[0] == 2).all()
    assert (targets.label_weights[0] == 1).all()
    positive = targets.labels[1] < 2
    assert positive.nonzero().flatten().tolist() == [0, 1, 4, 5]
    left_out = (targets.label_weights[1] == 0).nonzero().flatten().tolist()
    assert left_out == [2, 6]
    assert (targets.bbox_weights[1, positive] > 0).all()
    assert (targets.bbox_targets[1, positive] == torch.tensor([0.0, 0, 16, 16])).all()


def test_images_without_a_list_of_ignored_regions():
    assert Objects.of(None) is None
    assert Objects.of([None, None]) is None
    assert Objects.of([None, instances([[0, 0, 1, 1]])]).images.tolist() == [1]


def test_five_hundred_objects_at_640_pixels():
    """A crowded image of VisDrone: 25 ms on one core, and no matrix of floats."""
    points = torch.cat([grid(640 // s, 640 // s, s) for s in (8, 16, 32)])
    low = torch.rand(500, 2) * 600
    objects = Objects.of(
        [instances(torch.cat([low, low + 8 + 32 * torch.rand(500, 2)], 1).tolist())]
    )
    boxes = torch.cat([points - 10, points + 10], 1)[None]
    found = assign(
        PointTaskAlignedAssigner(), torch.rand(1, 8400, 1), boxes, points, objects
    )
    counts = found.objects[found.objects >= 0].bincount(minlength=500)
    assert counts.max() <= 10
    assert (counts > 0).sum() > 400
    assert found.scores.max() <= 1


def test_topk_must_be_positive():
    with pytest.raises(ConfigError, match='topk: got 0'):
        PointTaskAlignedAssigner(topk=0)
