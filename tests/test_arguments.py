"""What classes are given by a config: right values pass, others are one line."""

import inspect
from pathlib import Path
from typing import Annotated, Any, Literal, get_type_hints

import numpy as np
import pytest
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, Registry

import aerialkd
from aerialkd import registry
from aerialkd.algorithms.teacher import FrozenTeacher
from aerialkd.arguments import Count, NotNegative, Positive, Share, describe, fits
from aerialkd.datasets import VisDroneDataset
from aerialkd.errors import AerialKDError, ConfigError
from aerialkd.losses import CWDLoss, DistillLoss
from tests.builders import distill, gfl, pkd_distiller, retinanet
from tests.trained import visdrone_config

NAN, INF = float('nan'), float('inf')
# Annotation, what it says, values that fit, values that do not.
KINDS = [
    (float, 'a finite number', (1, 1.5, np.float32(2), np.int64(3)), ('1', True, NAN)),
    (Positive, 'a finite number above 0', (1e-9, 10**9), (0, -1, INF, 10**400, None)),
    (NotNegative, 'a finite number of at least 0', (0, 0.0), (-1e-9, 'x', [1])),
    (Share, 'a finite number from 0 to 1', (0, 1, np.float64(0.5)), (1.1, -0.1, NAN)),
    (Count, 'a whole number of at least 1', (1, np.int32(7)), (0, 1.0, '1', True)),
    (bool, 'True or False', (True, np.bool_(False)), ('yes', 1, 0, None)),
    (str, 'text', ('a', ''), (1, None, b'a')),
    (Literal['a', 'b'], "one of 'a', 'b'", ('a',), ('c', 1, None, [])),
    (Literal['a'] | None, "'a' or None", ('a', None), ('None', False)),
    (int | list[int], 'a whole number or a list (each a whole number)', (3, [3]), '3'),
    (tuple[int, ...], 'a list (each a whole number)', ((), [1], range(2)), ('12', 3)),
    (tuple[float, float], None, ([0, 1], (0.5, 1)), ([1], (1, 2, 3), 1)),
    (dict[str, int], 'a dict (each a whole number)', ({}, {'a': 1}), ({'a': 'b'}, [])),
    (dict | Path, 'a dict or Path', (ConfigDict(a=1), Path('a')), ('a', [])),
    (Any, 'anything', (None, 'a', object()), ()),
    (Annotated[int, 'a remark'], 'a whole number', (1,), ('a',)),
]


@pytest.mark.parametrize(('hint', 'text', 'right', 'wrong'), KINDS)
def test_kinds_of_arguments(hint, text, right, wrong):
    assert text in (None, describe(hint))
    assert [value for value in right if not fits(value, hint)] == []
    assert [value for value in wrong if fits(value, hint)] == []


def refusal(**cfg):
    """What a config of one of our models is told."""
    with pytest.raises(ConfigError) as refused:
        MODELS.build(dict(cfg, type=f'aerialkd.{cfg["type"]}'))
    return str(refused.value)


def test_says_what_where_and_how_to_mend_it():
    assert refusal(type='PKDLoss', loss_weight='ten') == (
        "PKDLoss.loss_weight: got 'ten', expected a finite number of at least 0."
    )
    assert refusal(type='CWDLoss', tau='1.0') == (
        "CWDLoss.tau: got '1.0', expected a finite number above 0. Write 1.0 without "
        'quotes.'
    )
    assert refusal(type='CWDLoss', taw=1.0) == (
        "CWDLoss: got an unknown argument 'taw', expected some of tau, loss_weight. "
        "Did you mean 'tau'?"
    )
    assert refusal(type='PyramidAligner', in_channels=8, num_levels=2) == (
        "PyramidAligner: got no 'out_channels', which it needs."
    )
    # What goes on to a class of MMDetection is known, too.
    said = refusal(
        type='LARetinaHead', anchor_generator=dict(strides=[8]), num_clases=3
    )
    assert "'num_clases'" in said
    assert said.endswith("Did you mean 'num_classes'?")
    # Without a class, in any of ours, also one that inherits from them.
    with pytest.raises(ConfigError, match=r'^CWDLoss\.tau: got None'):
        CWDLoss(None)
    with pytest.raises(ConfigError, match=r'^MyLoss\.loss_weight: got nan'):
        type('MyLoss', (DistillLoss,), {})(loss_weight=NAN)


def test_an_algorithm_and_its_teacher():
    for options, said in (
        (dict(check_classes='no'), r'DetectionDistill\.check_classes'),
        (dict(teacher_may_differ='neck.*'), r'teacher_may_differ: .* a list'),
        (dict(teacher_options=dict(fuse=True)), r"FrozenTeacher: .* 'fuse'"),
        (dict(teacher_options=dict(autocast_dtype='half')), r"one of 'bfloat16', 'fl"),
        (dict(distiller=pkd_distiller(recorders='fpn')), r'recorders: .* a dict'),
        (dict(distiller=pkd_distiller(only='pkd')), r"only: got 'pkd', .* a list"),
        (dict(type='aerialkd.CrossScaleDistill', scale='two'), r'scale: .* number'),
    ):
        with pytest.raises(ConfigError, match=said):
            MODELS.build(distill(**options))
    with pytest.raises(ConfigError, match="got no 'cfg'"):
        FrozenTeacher()


REGISTRIES = [r for r in vars(registry).values() if isinstance(r, Registry)]
CLASSES = [kind for r in REGISTRIES for kind in r.module_dict.values()]

# What they need, to be built at all.
NEEDED = dict(
    channels=4,
    student_channels=4,
    teacher_channels=4,
    in_channels=4,
    out_channels=4,
    num_levels=1,
    num_classes=3,
    k=1.0,
    source='neck',
    cls=dict(in_channels=4, out_channels=4, num_levels=1),
    anchor_generator=gfl().bbox_head.anchor_generator,
    architecture=retinanet(),
    teacher=retinanet(),
    distiller=pkd_distiller(),
)
WRONG = ('ten', '1.0', 'yes', NAN, INF, -1, 0, 1.5, True, None, [], [1, 'a'], {}, b'a')


def parameters_of(kind):
    """Those of the constructors of this package."""
    found = {}
    for base in kind.__mro__:
        if '__init__' in vars(base) and base.__module__.startswith('aerialkd'):
            listed = list(inspect.signature(base.__init__).parameters.values())[1:]
            found |= {p.name: p for p in listed if p.kind not in (p.VAR_POSITIONAL,)}
    found.pop('kwargs', None)
    return found


@pytest.mark.parametrize('kind', CLASSES, ids=lambda kind: kind.__name__)
def test_every_argument_with_values_that_do_not_fit(kind, made_images):
    """Each is taken, or refused by an error of the package."""
    parameters = parameters_of(kind)
    heads = ('num_classes', 'in_channels', 'anchor_generator')
    asked = heads if kind.__name__.startswith(('LA', 'Dist')) else parameters
    needed = {k: v for k, v in NEEDED.items() if k in asked}
    if issubclass(kind, VisDroneDataset):
        needed['data_root'] = str(made_images / 'train')
    refused = 0
    for name in parameters:
        for value in WRONG:
            try:
                kind(**{**needed, name: value})
            except AerialKDError:
                refused += 1
            except KeyError as error:
                # Of a registry, which the tools print likewise.
                if 'type' not in str(error):
                    raise
    assert refused or not parameters


def test_every_annotation_is_understood():
    for kind in CLASSES:
        for base in kind.__mro__:
            if base.__module__.startswith('aerialkd') and '__init__' in vars(base):
                get_type_hints(base.__init__, include_extras=True)
                assert hasattr(base.__init__, 'is_checked'), base


@pytest.fixture(scope='module')
def user_config(tmp_path_factory, made_images):
    models = dict(architecture=retinanet(10), teacher=retinanet(10))
    cfg = visdrone_config(distill(**models), made_images)
    file = tmp_path_factory.mktemp('user') / 'mine.py'
    cfg.dump(file)
    return file


LOSS = 'model.distiller.distill_losses.pkd'
HOOK = 'default_hooks.checkpoint.type=CheckpointHook default_hooks.checkpoint'


@pytest.mark.parametrize(
    ('option', 'said'),
    [
        (f'{LOSS}.loss_weight=ten', "pkd.loss_weight: got 'ten', expected"),
        (f'{LOSS}.loss_weight=nan', 'pkd.loss_weight: got nan, expected'),
        (f'{LOSS}.los_weight=1', "Did you mean 'loss_weight'?"),
        (f'{LOSS}.type=aerialkd.PKDLos', 'PKDLos is not in the'),
        (f'{LOSS}.type=5', 'type must be a str'),
        ('model.teacher.neck.taw=1', 'FPN.__init__() got an unexpected keyword'),
        ('model.architecture.bbox_head.taw=1', "unexpected keyword argument 'taw'"),
        ('val_evaluator.max_dets=500', 'VisDroneMetric.max_dets: got 500, expected'),
        ('default_hooks.visualization.type=NoHook', 'NoHook is not in the'),
        ('optim_wrapper.optimizer.type=Adamm', "got 'Adamm', which is not in"),
        ('train_dataloader.sampler.shufle=1', "argument 'shufle'"),
        ('optim_wrapper.optimizer.lr=-1', 'AdamW takes other arguments: ValueError'),
        ('optim_wrapper.accumulative_counts=0', 'accumulative_counts: got 0, expected'),
        ('train_cfg.val_interval=0', 'train_cfg.val_interval: got 0, expected a whole'),
        ('train_cfg.max_epochs=abc', "train_cfg.max_epochs: got 'abc', expected a"),
        ('model.architecture.backbone.depth=19', 'ResNet takes other arguments: KeyEr'),
        ('model.architecture.bbox_head.num_classes=ten', 'takes other arguments: '),
        ('model.architecture.bbox_head.num_classes.x=1', 'does not fit the config'),
        ('train_dataloader.dataset.pipeline.99.x=1', 'does not fit the config'),
        ('train_cfg=1', 'train_cfg: got 1, expected a dict'),
        ('default_hooks.logger.interval=a', 'LoggerHook takes other arguments: '),
        (f'{HOOK}.intervall=1', "Did you mean 'interval'?"),
        (f'{HOOK}.interval=x', "checkpoint.interval: got 'x'"),
        (
            f'{HOOK}.save_best=a default_hooks.checkpoint.rule=bigger',
            "='greater' or 'less'",
        ),
    ],
)
def test_a_tool_says_it_in_one_line(run, tmp_path, user_config, option, said):
    words = ('--work-dir', tmp_path / 'out', '--cfg-options', *option.split())
    line, status = run('train', user_config, *words)
    assert (status, said in line) == (2, True), line
    assert line.startswith('error: ')


def test_defects_keep_their_traceback():
    from aerialkd.cli import one_line_errors

    def broken():
        return {}['is not in the registry']

    def badly_called():
        return aerialkd.losses.PKDLoss.masks()

    for defect in (broken, badly_called):
        with pytest.raises((KeyError, TypeError)):
            one_line_errors(defect)()
