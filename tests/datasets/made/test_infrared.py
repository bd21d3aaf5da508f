import functools

import numpy as np
import pytest

from aerialkd.datasets.made.infrared import InfraredScene, render_infrared
from aerialkd.datasets.made.sky import BACKGROUNDS

SIZE = 128


@functools.lru_cache
def scene(seed: int, size: int = SIZE) -> InfraredScene:
    return render_infrared(np.random.default_rng(seed), size)


def test_equal_seeds_make_equal_images() -> None:
    first, again = scene(3), scene.__wrapped__(3)
    assert (first.image == again.image).all()
    assert [t.box for t in first.targets] == [t.box for t in again.targets]
    assert (first.image != scene(4).image).any()


@pytest.mark.parametrize('size', [64, 128, 320])
def test_images_are_as_promised(size: int) -> None:
    scenes = [scene(seed, size) for seed in range(40)]
    targets = [target for s in scenes for target in s.targets]
    for s in scenes:
        assert s.image.shape == (size, size)
        assert s.image.dtype == np.uint8
        assert s.image.std() > 1, 'not a plain colour'
    longest = [max(t.box[2] - t.box[0], t.box[3] - t.box[1]) for t in targets]
    assert 3 <= min(longest) < max(longest) <= 40
    assert np.median(longest) < 16, 'most are small'
    numbers = np.array([len(s.targets) for s in scenes])
    assert 1 < numbers.mean() < 4
    assert numbers.max() <= 10
    assert (numbers <= 5).mean() > 0.8
    assert len({t.kind for t in targets}) == 4
    assert any(not s.targets for s in map(scene, range(100)))


def test_hardly_a_pixel_is_cut_off_at_black_or_white() -> None:
    for s in map(scene, range(180)):
        assert np.isin(s.image, (0, 255)).mean() < 0.01


def test_boxes_hold_exactly_the_masks_and_masks_do_not_meet() -> None:
    for s in map(scene, range(40)):
        owners = np.zeros(s.image.shape, int)
        for target in s.targets:
            x1, y1, x2, y2 = target.box
            inside = target.mask[y1:y2, x1:x2]
            assert inside.sum() == target.mask.sum() > 0
            assert inside.any(axis=0)[[0, -1]].all()
            assert inside.any(axis=1)[[0, -1]].all()
            owners += target.mask
        assert owners.max(initial=0) <= 1


def test_targets_differ_from_what_is_around_them_dim_ones_hardly() -> None:
    contrasts = []
    for s in map(scene, range(60)):
        image = s.image.astype(float)
        for target in s.targets:
            x1, y1, x2, y2 = target.box
            around = np.zeros_like(target.mask)
            around[max(0, y1 - 4) : y2 + 4, max(0, x1 - 4) : x2 + 4] = True
            around &= ~target.mask
            difference = abs(image[target.mask].mean() - image[around].mean())
            contrasts.append(difference / (image[around].std() + 1e-6))
    low, middle, high = np.percentile(contrasts, [10, 50, 90])
    assert low < 2 < middle
    assert high > 5


@pytest.mark.parametrize(
    'background', dict.fromkeys(BACKGROUNDS), ids=lambda b: b.__name__
)
@pytest.mark.parametrize('size', [64, 200])
def test_every_background_has_sky_and_texture(background, size: int) -> None:
    made = background(np.random.default_rng(1), size)
    assert made.warmth.shape == made.sky.shape == (size, size)
    assert np.isfinite(made.warmth).all()
    assert made.sky.mean() > 0.3
    assert made.warmth.std() > 0.5
