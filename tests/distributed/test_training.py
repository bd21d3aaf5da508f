"""tools/train.py in two processes: it ends well, and when one of them fails."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.multiprocessing.spawn import ProcessException

from aerialkd.datasets.made import make_data
from tests.builders import distill, retinanet
from tests.processes import ROOT, Tool, environments, run_tool
from tests.shared_batch import Case, step
from tests.trained import visdrone_config
from tests.two_processes import connect

pytestmark = pytest.mark.alone

TORCHRUN = (
    *('-m', 'torch.distributed.run', '--standalone'),
    *('--nproc_per_node', '2'),
)
FOREVER = 24 * 60 * 60  # seconds: no test ends because a process has waited long enough


def run(*arguments, **environment):
    """A tool in processes of their own."""
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, 'OMP_NUM_THREADS': '1', **environment},
    )


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f'/proc/{pid}/stat')
    return not state.is_file() or state.read_text().rsplit(')', 1)[1].split()[0] != 'Z'


@pytest.mark.slow
@pytest.mark.parametrize('where', ['before_train_iter', 'after_val_iter'])
def test_an_exception_in_one_process_ends_both(where, tmp_path, made_images):
    model = distill(architecture=retinanet(10), teacher=retinanet(10, width=16))
    cfg = visdrone_config(model, made_images, epochs=3)
    cfg.train_dataloader.batch_size = 1  # three iterations an epoch
    if where == 'before_train_iter':
        cfg.train_cfg.val_interval = 3
    cfg.custom_imports.imports.append('raise_on_rank')
    cfg.custom_hooks = [dict(type='RaiseOnRank', where=where, marks=str(tmp_path))]
    # The backend that configs name is for GPUs: here it must not matter.
    cfg.env_cfg = dict(dist_cfg=dict(backend='nccl'))
    cfg.dump(tmp_path / 'config.py')
    path = os.pathsep.join([str(Path(__file__).parent), str(ROOT)])
    done = run(
        *(*TORCHRUN, 'tools/train.py', tmp_path / 'config.py'),
        *('--work-dir', tmp_path / 'work', '--launcher', 'pytorch'),
        PYTHONPATH=path,
    )
    assert done.returncode != 0
    assert 'RuntimeError: raised on purpose' in done.stderr
    pids = [int((tmp_path / f'pid_{rank}').read_text()) for rank in (0, 1)]
    assert not any(is_alive(pid) for pid in pids)
    # What was saved before stays as it was.
    saved = 'epoch_1.pth' if where == 'before_train_iter' else None
    checkpoints = [file.name for file in (tmp_path / 'work').glob('epoch_*')]
    assert saved is None or saved in checkpoints


def steps_with_an_exception(rank, meet):
    """Two steps in DDP, the second of which one process does not take."""
    connect(rank, meet, timeout=FOREVER)
    case = Case('DetectionDistill', 'gfl', 'PositionAwareL2Loss')
    wrapper = torch.nn.parallel.DistributedDataParallel(case.build())
    step(wrapper, case.batch((3, 3), image=rank))
    if rank == 1:
        raise RuntimeError('raised on purpose')
    step(wrapper, case.batch((3, 3), image=rank))


def until_ended(context):
    while not context.join():
        pass


def test_an_exception_in_one_spawned_process_ends_both(tmp_path):
    context = torch.multiprocessing.start_processes(
        steps_with_an_exception,
        (str(tmp_path / 'meet'),),
        nprocs=2,
        join=False,
        start_method='forkserver',
    )
    with pytest.raises(ProcessException):
        until_ended(context)
    assert not any(process.is_alive() for process in context.processes)


def metrics_of(work_dir, prefix):
    """The last evaluation that a tool logged."""
    (file,) = work_dir.glob('*/vis_data/scalars.json') or [None]
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    (values,) = [line for line in lines if any(key.startswith(prefix) for key in line)]
    return {k: v for k, v in values.items() if k.startswith(prefix)}


def printed_table(work_dir):
    (file,) = work_dir.glob('*/*.log')
    rows = [line for line in file.read_text().splitlines() if line.startswith('|')]
    assert len(rows) > 2
    return rows


DEMOS = dict(
    visdrone='configs/demo/pkd_retinanet.py',
    dota='configs/demo/kd-rnet-cls_rotated-retinanet.py',
)


@pytest.mark.slow
@pytest.mark.parametrize('layout', DEMOS)
def test_two_processes_train_validate_and_save(layout, tmp_path):
    """Twelve images to train on in three steps, and an odd number to validate on."""
    images = make_data(layout, tmp_path / 'data', images=12, size=128, progress=False)
    options = ['model.teacher_ckpt=None', 'model.teacher_check=False']
    options += ['train_cfg.max_epochs=1']
    options += ['train_cfg.val_interval=1', 'train_dataloader.batch_size=2']
    options += ['default_hooks.logger.interval=1']
    options += ['model.architecture.test_cfg.score_thr=0.0']
    for name in ('train', 'val', 'test'):
        loader = f'{name}_dataloader'
        options += [f'{loader}.num_workers=0', f'{loader}.persistent_workers=False']
        options += [f'{loader}.dataset.data_root={images}/']
    options += [f'{name}_evaluator.classwise=True' for name in ('val', 'test')]
    tail = ('--cfg-options', *options)
    both = [
        Tool(
            *('train', DEMOS[layout], '--launcher', 'pytorch'),
            *('--work-dir', tmp_path / 'work', *tail),
            environment=environment,
        )
        for environment in environments(2)
    ]
    said = ''
    for done in [training.finish() for training in both]:
        assert done.returncode == 0, done.stderr[-3000:]
        said += done.stdout + done.stderr
    # One process logs and saves.
    assert len(list((tmp_path / 'work').glob('*/*.log'))) == 1
    checkpoints = [file.name for file in (tmp_path / 'work').glob('epoch_*.pth')]
    assert checkpoints == ['epoch_1.pth']
    assert said.count('Saving checkpoint') == 1
    prefix = 'visdrone/' if layout == 'visdrone' else 'rotated/'
    together = metrics_of(tmp_path / 'work', prefix)
    # The saved model, evaluated by one process, is what both validated.
    done = run_tool(
        *('test', DEMOS[layout], tmp_path / 'work' / 'epoch_1.pth'),
        *('--work-dir', tmp_path / 'test', *tail),
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (file,) = (tmp_path / 'test').glob('*/*.json')
    alone = json.loads(file.read_text())
    alone = {k: v for k, v in alone.items() if k.startswith(prefix)}
    assert together == pytest.approx(alone, abs=1e-6)
    if layout == 'visdrone':
        assert max(alone.values()) > 0
    else:  # nothing found yet: the tables count objects and detections
        assert printed_table(tmp_path / 'work') == printed_table(tmp_path / 'test')
