"""Several processes on a machine without a GPU, which mmengine does not start."""

from __future__ import annotations

import datetime
import os

from mmengine.config import Config
from mmengine.device import get_device
from mmengine.dist import init_dist, is_distributed
from mmengine.utils.dl_utils import set_multi_processing
from torch import distributed

from aerialkd.errors import ConfigError


def join_processes(cfg: Config) -> None:
    """Connect the processes of a launcher, as a runner does when it is built.

    Args:
        cfg: with ``launcher``; adapted where there is no GPU.

    Raises:
        ConfigError: if the launcher cannot be used here.
    """
    join_processes_on_cpu(cfg)
    if cfg.get('launcher', 'none') == 'none' or is_distributed():
        return
    settings = cfg.get('env_cfg') or {}
    # In this order: connecting sets a start method where there is none.
    set_multi_processing(**settings.get('mp_cfg', {}), distributed=True)
    init_dist(cfg.launcher, **settings.get('dist_cfg', {}))


def join_processes_on_cpu(cfg: Config) -> None:
    """Connect the processes of a launcher where there is no GPU; else do nothing.

    mmengine's own way selects a GPU before it connects them, and names one when it
    wraps the model. The backend is gloo whatever ``env_cfg.dist_cfg`` says, because
    NCCL needs GPUs; its ``timeout`` in seconds is kept.

    Args:
        cfg: with ``launcher``; ``model_wrapper_cfg`` is adapted.

    Raises:
        ConfigError: if the launcher is not ``'pytorch'``, or did not start this
            process.
    """
    if cfg.get('launcher', 'none') == 'none' or get_device() != 'cpu':
        return
    if cfg.launcher != 'pytorch' or 'RANK' not in os.environ:
        raise ConfigError(
            f'--launcher {cfg.launcher}: without a GPU, several processes are started '
            'with: python -m torch.distributed.run --nproc_per_node=2 tools/train.py '
            'CONFIG --launcher pytorch'
        )
    if not distributed.is_initialized():
        seconds = cfg.get('env_cfg', {}).get('dist_cfg', {}).get('timeout')
        timeout = None if seconds is None else datetime.timedelta(seconds=seconds)
        distributed.init_process_group('gloo', timeout=timeout)
    unused = cfg.get('find_unused_parameters', False)
    wrapper = cfg.get('model_wrapper_cfg') or dict(
        type='MMDistributedDataParallel',
        broadcast_buffers=False,
        find_unused_parameters=unused,
    )
    cfg.model_wrapper_cfg = {**wrapper, 'device_ids': None}
