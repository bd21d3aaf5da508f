"""TeacherCheckHook: who passes, who does not and why, and that nothing else changes."""

import copy
import logging
import random
from collections import Counter
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.model import MMDistributedDataParallel
from mmengine.registry import HOOKS, MODELS, init_default_scope
from mmengine.runner import Runner
from torch import nn

from aerialkd.engine.teacher_check_hook import teacher_views
from aerialkd.engine.teacher_findings import (
    Findings,
    by_chance,
    findings,
    is_blind,
    is_noise,
)
from aerialkd.errors import TeacherError
from tests.builders import distill, retinanet, rotated_retinanet
from tests.trained import dota_config, train, visdrone_config, write_turned_objects

RED, BLUE = (0, 0, 230), (230, 0, 0)  # BGR
ALL_FOUND = 'The teacher finds 24 of 24 objects (IoU 0.5) in 8 training images.'


def write_squares(root, images, objects=3):
    """Red squares, cars in VisDrone's layout, among blue ones that are nothing."""
    rng = np.random.default_rng(0)
    places = [(x, y) for x in (0, 22, 44) for y in (0, 22, 44)]
    for folder in ('images', 'annotations'):
        (root / folder).mkdir(parents=True)
    for index in range(images):
        image, lines = rng.integers(0, 40, (64, 64, 3), np.uint8), []
        spots = rng.permutation(places)[:6] + rng.integers(0, 4, (6, 2))
        for number, (x, y) in enumerate(spots):
            image[y : y + 16, x : x + 16] = RED if number < 3 else BLUE
            if number < objects:
                lines.append(f'{x},{y},16,16,1,4,0,0\n')
        cv2.imwrite(str(root / 'images' / f'{index}.png'), image)
        (root / 'annotations' / f'{index}.txt').write_text(''.join(lines))


@pytest.fixture(scope='module')
def squares(tmp_path_factory):
    folder = tmp_path_factory.mktemp('squares')
    write_squares(folder / 'train', 10)
    write_squares(folder / 'val', 1)
    return folder


@pytest.fixture(scope='module')
def checkpoint(squares):
    """A teacher that has learnt the squares by heart."""
    init_default_scope('mmdet')
    torch.manual_seed(0)
    model = MODELS.build(retinanet(10))
    model.init_weights()
    model.train()
    cfg = visdrone_config(model, squares).train_dataloader
    loader = Runner.build_dataloader(dict(cfg, batch_size=10), seed=0)
    data = model.data_preprocessor(next(iter(loader)), True)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    for _ in range(60):
        loss, _ = model.parse_losses(model(**data, mode='loss'))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
    file = squares / 'teacher.pth'
    torch.save(dict(state_dict=model.state_dict()), file)
    return str(file)


@pytest.fixture
def log(caplog):
    """The lines that a check has written."""
    caplog.set_level(logging.INFO)
    return caplog


def model_config(checkpoint, teacher=None, **overrides):
    settings = dict(
        architecture=retinanet(10),
        teacher=teacher or retinanet(10),
        teacher_ckpt=checkpoint,
        teacher_check=True,
    )
    return distill(**{**settings, **overrides})


def loader_of(data, **dataset):
    cfg = visdrone_config({}, data).train_dataloader
    cfg.dataset.update(dataset)
    init_default_scope('mmdet')
    return Runner.build_dataloader(cfg, seed=0)


def check(model, loader):
    model = MODELS.build(model) if isinstance(model, dict) else model
    runner = SimpleNamespace(
        model=model, train_dataloader=loader, logger=logging.getLogger('check')
    )
    HOOKS.build(dict(type='aerialkd.TeacherCheckHook')).before_train(runner)


def refused(model, loader):
    with pytest.raises(TeacherError) as error:
        check(model, loader)
    message = str(error.value)
    assert message.startswith('The teacher finds 0 of 24 objects (IoU 0.5) in 8')
    assert message.endswith('To train regardless, set teacher_check=False.')
    return message


def test_a_trained_teacher_passes_with_one_line(checkpoint, squares, log):
    check(model_config(checkpoint), loader_of(squares))
    assert log.messages[-1] == ALL_FOUND
    assert log.records[-1].levelno == logging.INFO


def test_no_checkpoint_is_named(squares):
    message = refused(model_config(None), loader_of(squares))
    assert '0 detections score 0.05 or more, the best 0.0' in message
    assert 'Its weights were not loaded: teacher_ckpt is None.' in message


def test_untrained_weights_are_suspected(checkpoint, squares):
    model = MODELS.build(model_config(checkpoint))
    model.teacher.init_weights()
    message = refused(model, loader_of(squares))
    assert f'its weights were not loaded, if {checkpoint} (teacher_ckpt)' in message
    assert 'teacher_may_differ' in message


def test_boxes_everywhere_are_no_evidence_of_other_classes(checkpoint, squares):
    """A head that was not even initialised puts boxes on most objects."""
    teacher = retinanet(10)
    teacher.test_cfg.update(max_per_img=500)
    model = MODELS.build(model_config(checkpoint, teacher))
    torch.manual_seed(0)
    for module in model.teacher.modules():
        if hasattr(module, 'reset_parameters'):
            module.reset_parameters()
    scores = model.teacher.bbox_head.retina_cls
    nn.init.normal_(scores.weight)
    nn.init.constant_(scores.bias.view(-1, 10)[:, 3], -1e4)  # no car by chance
    message = refused(model, loader_of(squares))
    assert 'Likely causes: its weights were not loaded' in message


def finds_in(model, monkeypatch, images):
    """Let the teacher see objects of its class in the first images alone."""
    original, calls = model.teacher.predict, []

    def predict(*args, **kwargs):
        samples = original(*args, **kwargs)
        calls.append(samples)
        if len(calls) > images:
            samples[0].pred_instances.labels += 1
        return samples

    monkeypatch.setattr(model.teacher, 'predict', predict)


def counts(objects, found):
    return Findings(8, objects, found, found, Counter(), 100, 0.5)


@pytest.mark.parametrize(
    ('objects', 'found', 'chance', 'noise', 'blind'),
    [
        (100, 0, 0, True, True),
        (100, 3, 0, True, True),
        (100, 4, 0, False, False),
        (20, 2, 0, True, False),  # little, but no proof
        (112, 10, 5, True, True),  # boxes everywhere
        (112, 19, 7, False, False),
        (112, 95, 95, False, False),  # frames of one scene
    ],
)
def test_what_chance_explains_is_nothing(objects, found, chance, noise, blind):
    seen, other = counts(objects, found), counts(objects, chance)
    assert (is_noise(seen, other), is_blind(seen, other)) == (noise, blind)


def test_detections_of_another_image_find_by_chance():
    def instances(xs):
        boxes = torch.tensor([[x, 0.0, x + 10.0, 10.0] for x in xs])
        labels = torch.zeros(len(xs), dtype=torch.long)
        return SimpleNamespace(
            bboxes=boxes, labels=labels, scores=torch.full((len(xs),), 0.9)
        )

    pairs = [(instances([0, 20]), instances([40])), (instances([40]), instances([20]))]
    assert findings(pairs).found == 0
    assert by_chance(pairs).found == 2
    assert by_chance(pairs[:1]).found == 0


def roll_classes(model, by):
    head = model.teacher.bbox_head
    for parameter in (head.retina_cls.weight, head.retina_cls.bias):
        by_class = parameter.data.view(-1, head.num_classes, *parameter.shape[1:])
        parameter.data.copy_(by_class.roll(by, 1).reshape(parameter.shape))


def test_another_order_of_classes_is_seen(checkpoint, squares):
    model = MODELS.build(model_config(checkpoint))
    roll_classes(model, 2)
    message = refused(model, loader_of(squares))
    assert (
        "On 24 objects it has a detection of another class (most often 'tr" in message
    )
    assert "on 'car', 24 times)" in message
    assert 'another order of them' in message


def test_classes_do_not_matter_where_they_are_not_compared(checkpoint, squares, log):
    model = MODELS.build(model_config(checkpoint, check_classes=False))
    roll_classes(model, 2)
    check(model, loader_of(squares))
    assert log.messages[-1] == ALL_FOUND


def test_swapped_channels_are_named(checkpoint, squares):
    teacher = retinanet(10)
    teacher.data_preprocessor.bgr_to_rgb = False
    message = refused(model_config(checkpoint, teacher), loader_of(squares))
    assert 'bgr_to_rgb=True instead of ' in message
    assert 'bgr_to_rgb=False, that is with the channels swapped, it finds' in message


def test_another_normalisation_is_named(checkpoint, squares):
    teacher = retinanet(10, preprocessor=dict(mean=[0.0] * 3, std=[2550.0] * 3))
    message = refused(model_config(checkpoint, teacher), loader_of(squares))
    right = 'mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375]'
    assert f'With {right}, bgr_to_rgb=True instead of mean=[0.0, 0.0, 0.0]' in message
    assert 'swapped' not in message
    assert 'it finds 21 of 21 objects (IoU 0.5) in 7 training images' in message


def test_what_was_tried_is_not_kept(checkpoint, squares):
    teacher = retinanet(10, preprocessor=dict(mean=[0.0] * 3, std=[2550.0] * 3))
    model = MODELS.build(model_config(checkpoint, teacher))
    before = model.frozen_teacher.renormalise
    refused(model, loader_of(squares))
    assert model.frozen_teacher.renormalise is before


def test_a_teacher_that_could_find_twice_as_much_is_warned_of(
    checkpoint, squares, log, monkeypatch
):
    model = MODELS.build(model_config(checkpoint))
    finds_in(model, monkeypatch, 3)
    check(model, loader_of(squares))
    assert log.records[-1].levelno == logging.WARNING
    assert log.messages[-1].startswith('The teacher finds 9 of 24 objects')
    assert "(most often 'van' on 'car', 15 times)" in log.messages[-1]


def test_the_switch_is_off(squares, log):
    check(model_config(None, teacher_check=False), loader_of(squares))
    assert not any('finds' in message for message in log.messages)


def test_models_without_a_teacher_are_left_alone(squares):
    check(retinanet(10), loader_of(squares))


def test_a_distributed_training_is_checked(checkpoint, squares, tmp_path, log):
    torch.distributed.init_process_group(
        'gloo', init_method=f'file://{tmp_path}/store', rank=0, world_size=1
    )
    try:
        model = MODELS.build(model_config(checkpoint))
        check(MMDistributedDataParallel(model), loader_of(squares))
    finally:
        torch.distributed.destroy_process_group()
    assert log.messages[-1] == ALL_FOUND


@pytest.mark.parametrize('wrapper', ['RepeatDataset', 'MultiImageMixDataset'])
def test_wrapped_data_sets_keep_their_transforms(checkpoint, squares, log, wrapper):
    cfg = visdrone_config({}, squares).train_dataloader
    inner, pack = cfg.dataset, cfg.dataset.pipeline.pop()
    options = dict(times=2) if wrapper == 'RepeatDataset' else dict(pipeline=[pack])
    if wrapper == 'RepeatDataset':
        inner.pipeline.append(pack)
    cfg.dataset = dict(type=wrapper, dataset=inner, **options)
    init_default_scope('mmdet')
    loader = Runner.build_dataloader(cfg, seed=0)
    remember = Rememberer()
    loader.dataset.dataset.pipeline.transforms.insert(0, remember)
    check(model_config(checkpoint), loader)
    assert log.messages[-1] == ALL_FOUND
    assert remember.seen == []


def test_autocast_and_memory_format_do_not_hinder(checkpoint, squares, log):
    options = dict(autocast_dtype='bfloat16', channels_last=True, fuse_conv_bn=True)
    cfg = model_config(checkpoint, teacher_options=options)
    check(cfg, loader_of(squares))
    assert log.messages[-1] == ALL_FOUND


def test_images_without_objects_are_passed_over(checkpoint, tmp_path, log):
    write_squares(tmp_path / 'train', 10)
    for index in range(7):
        (tmp_path / 'train' / 'annotations' / f'{index}.txt').write_text('')
    check(model_config(checkpoint), loader_of(tmp_path))
    assert '9 of 9 objects (IoU 0.5) in 3 training images' in log.messages[-1]


def test_without_objects_there_is_no_check(checkpoint, tmp_path, log):
    write_squares(tmp_path / 'train', 3, objects=0)
    check(model_config(checkpoint), loader_of(tmp_path))
    assert log.records[-1].levelno == logging.WARNING
    assert 'not checked: none of 3 training images' in log.messages[-1]


def test_hardly_any_objects_are_no_proof(tmp_path, log):
    write_squares(tmp_path / 'train', 2, objects=2)
    check(model_config(None), loader_of(tmp_path))
    assert log.records[-1].levelno == logging.WARNING
    assert 'The teacher finds 0 of 4 objects' in log.messages[-1]


def test_an_index_without_image_gives_way_to_another(checkpoint, squares, log):
    loader = loader_of(squares)
    images = loader.dataset

    class Gaps(torch.utils.data.Dataset):
        def __len__(self):
            return 10

        def __getitem__(self, index):
            return None if index < 5 else images[index]

    cfg = dict(batch_size=2, num_workers=0, collate_fn=dict(type='pseudo_collate'))
    sampler = dict(type='DefaultSampler', shuffle=True)
    gaps = Runner.build_dataloader(dict(cfg, dataset=Gaps(), sampler=sampler), seed=0)
    check(model_config(checkpoint), gaps)
    assert '15 of 15 objects (IoU 0.5) in 5 training images' in log.messages[-1]


def test_many_objects_need_few_images_and_few_objects_many(checkpoint, tmp_path, log):
    write_squares(tmp_path / 'train', 30, objects=1)
    check(model_config(checkpoint), loader_of(tmp_path))
    assert '20 of 20 objects (IoU 0.5) in 20 training images' in log.messages[-1]


def test_a_cross_scale_teacher_sees_its_own_scale(checkpoint, squares, log):
    cfg = model_config(checkpoint, type='aerialkd.CrossScaleDistill', scale=2)
    check(cfg, loader_of(squares))
    assert log.messages[-1] == ALL_FOUND
    (inputs, samples), *_ = teacher_views(MODELS.build(cfg), loader_of(squares))
    assert inputs.shape == (1, 3, 64, 64)
    assert samples[0].batch_input_shape == (64, 64)


@pytest.mark.parametrize(('turn', 'passes'), [(0.0, True), (np.pi / 2, False)])
def test_rotated_boxes_are_compared_as_such(tmp_path, monkeypatch, log, turn, passes):
    write_turned_objects(tmp_path / 'dota', images=8)
    cfg = model_config(
        None, architecture=rotated_retinanet(), teacher=rotated_retinanet()
    )
    init_default_scope('mmrotate')
    model = MODELS.build(cfg)
    data = dota_config({}, tmp_path / 'dota').train_dataloader
    loader = Runner.build_dataloader(data, seed=0)
    truths = iter([samples[0] for _, samples in teacher_views(model, loader)])

    def predict(inputs, samples, rescale):
        assert not rescale
        found = copy.deepcopy(next(truths).gt_instances)
        found.bboxes.tensor[:, 4] += turn
        found.scores = torch.ones(len(found))
        samples[0].pred_instances = found
        return samples

    monkeypatch.setattr(model.teacher, 'predict', predict)
    if passes:  # the difficult third of the objects is ignored
        check(model, loader)
        assert 'finds 16 of 16 objects' in log.messages[-1]
    else:
        monkeypatch.setattr(
            'aerialkd.engine.teacher_causes._other_normalisation', lambda *_: None
        )
        with pytest.raises(TeacherError, match='finds 0 of 16 objects'):
            check(model, loader)


class Rememberer:
    """A transform that keeps what it has seen, as mmdet's CachedMosaic does."""

    def __init__(self):
        self.seen = []

    def __call__(self, results):
        self.seen.append(results['img_path'])
        return results


def test_nothing_is_disturbed(checkpoint, squares):
    model = MODELS.build(model_config(checkpoint)).train()
    model.data_preprocessor.batch_augments = nn.ModuleList([Growing()])
    loader = loader_of(squares)
    loader.dataset.pipeline.transforms.insert(0, Rememberer())
    state = copy.deepcopy([model.state_dict(), model.teacher.state_dict()])
    torch_state = torch.get_rng_state()
    draws = []
    for checked in (False, True):
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        if checked:
            check(model, loader)
        draws.append((random.random(), np.random.rand()))  # noqa: NPY002
    assert draws[0] == draws[1]
    assert torch.equal(torch_state, torch.get_rng_state())
    assert model.training
    assert model.student.training
    assert not model.teacher.training
    for left, right in zip(
        state, [model.state_dict(), model.teacher.state_dict()], strict=True
    ):
        assert all(torch.equal(left[key], right[key]) for key in left)
    assert model.data_preprocessor.batch_augments[0].times == 0
    assert loader.dataset.pipeline.transforms[0].seen == []
    for recorders in (
        model.distiller.teacher_recorders,
        model.distiller.student_recorders,
    ):
        assert all(not r.data_buffer for r in recorders.recorders.values())


class Growing(nn.Module):
    """A batch augmentation that counts its calls, as BatchSyncRandomResize does."""

    times = 0

    def forward(self, inputs, samples):
        self.times += 1
        return inputs, samples


def brighten(results):
    """A transform that draws from all three generators."""
    drawn = random.random(), np.random.rand(), torch.rand(()).item()  # noqa: NPY002
    results['img'] = results['img'] + np.float32(5 * sum(drawn))
    return results


def test_the_same_images_are_shown_whatever_was_drawn_before(checkpoint, squares):
    loader = loader_of(squares)
    loader.dataset.pipeline.transforms.insert(2, brighten)
    model = MODELS.build(model_config(checkpoint))
    shown = []
    original = model.frozen_teacher.predict

    def predict(inputs, samples):
        shown.append(inputs)
        return original(inputs, samples)

    model.frozen_teacher.predict = predict
    for _ in range(2):
        check(model, loader)
        brighten(dict(img=0))  # other numbers come next
    assert len(shown) == 16
    assert torch.equal(torch.cat(shown[:8]), torch.cat(shown[8:]))


def test_a_training_is_the_same_to_the_last_bit(checkpoint, squares, tmp_path):
    weights = []
    for hooks in ({}, dict(check=dict(type='aerialkd.TeacherCheckHook'))):
        cfg = visdrone_config(model_config(checkpoint), squares)
        pipeline = cfg.train_dataloader.dataset.pipeline
        pipeline.insert(2, dict(type='PhotoMetricDistortion'))
        cfg.default_hooks.update(hooks)
        work_dir = train(cfg, tmp_path / f'run_{len(hooks)}')
        weights.append(torch.load(work_dir / 'epoch_1.pth', weights_only=False))
    (without, first), (with_hook, second) = (
        (w['state_dict'], w['message_hub']['log_scalars']) for w in weights
    )
    assert without.keys() == with_hook.keys()
    assert all(torch.equal(without[key], with_hook[key]) for key in without)
    assert first.keys() == second.keys()


def test_training_stops_before_the_first_step(squares, tmp_path):
    cfg = visdrone_config(model_config(None), squares)
    cfg.default_hooks.check = dict(type='aerialkd.TeacherCheckHook')
    with pytest.raises(TeacherError, match='finds 0 of 24'):
        train(cfg, tmp_path / 'run')
    assert not list((tmp_path / 'run').glob('*.pth'))
