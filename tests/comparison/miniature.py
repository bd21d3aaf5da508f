"""A pair with one method on images of 64 pixels, as files in a folder of configs."""

from __future__ import annotations

from pathlib import Path

from aerialkd.comparison.pairs import Pair, find_pair
from tests.builders import pkd_distiller, retinanet
from tests.trained import visdrone_config

NAME = 'mini_retinanet'
PAIR = """_base_ = '../../mini/retinanet_student.py'
model = dict(
    _delete_=True,
    type='aerialkd.DetectionDistill',
    architecture=_base_.model,
    teacher={teacher!r},
    teacher_ckpt='nowhere/epoch_1.pth',
    teacher_check=False,
)
"""
METHOD = """_base_ = '../_base_/pairs/mini_retinanet.py'
model = dict(distiller={distiller!r})
work_dir = {work_dir!r}
"""


def write_pair(folder: Path, data: Path, methods: tuple[str, ...] = ('pkd',)) -> Pair:
    """Write the configs; trainings go to ``folder / 'runs'``.

    Args:
        folder: of ``configs``, made.
        data: images in VisDrone's layout.
        methods: all of them PKD, under these names.
    """
    configs, runs = folder / 'configs', folder / 'runs'
    for part in ('mini', '_base_/pairs'):
        (configs / part).mkdir(parents=True)
    for role, width in (('teacher', 16), ('student', 8)):
        cfg = visdrone_config(retinanet(10, width=width), data)
        cfg.work_dir = str(runs / f'retinanet_{role}')
        cfg.dump(configs / f'mini/retinanet_{role}.py')
    teacher = str(configs / 'mini/retinanet_teacher.py')
    (configs / f'_base_/pairs/{NAME}.py').write_text(PAIR.format(teacher=teacher))
    distiller = dict(pkd_distiller())
    for method in methods:
        work_dir = str(runs / f'{method}_retinanet')
        text = METHOD.format(distiller=distiller, work_dir=work_dir)
        (configs / f'mini/{method}_retinanet.py').write_text(text)
    return find_pair(NAME, configs)
