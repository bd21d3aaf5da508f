"""Weights that are not finite are refused where they are read."""

import pytest
import torch
from mmengine.registry import MODELS
from safetensors.torch import save_file

from aerialkd.engine import find_resumable, load_weights, read_checkpoint
from aerialkd.engine.last_checkpoint import check_resumable
from aerialkd.errors import CheckpointError
from aerialkd.loading.finite import check_finite
from tests.builders import retinanet

NAN, INF = float('nan'), float('inf')


def checkpoint(**parts):
    return dict(state_dict={'conv.weight': torch.ones(4)}, **parts)


@pytest.mark.parametrize('value', [NAN, INF, -INF])
@pytest.mark.parametrize(
    'key', ['conv.weight', 'conv.bias', 'bn.running_mean', 'bn.running_var', 'scale']
)
@pytest.mark.parametrize('dtype', ['float32', 'float64', 'float16', 'bfloat16'])
def test_one_value_is_enough(key, value, dtype, tmp_path):
    tensor = torch.ones(3, 5, dtype=getattr(torch, dtype))
    tensor[2, 4] = value
    torch.save({'first': torch.ones(1), key: tensor}, tmp_path / 'a.pth')
    kind = 'NaN' if value != value else 'infinite'
    with pytest.raises(CheckpointError) as told:
        load_weights(tmp_path / 'a.pth')
    expected = f'{tmp_path / "a.pth"}: {key}: got 1 of 15 values that are not finite'
    assert str(told.value).startswith(f'{expected} ({kind})')


@pytest.mark.parametrize(
    'tensor',
    [
        torch.tensor([INF, -INF]),  # whose sum is NaN
        torch.tensor([1 + 1j, complex(0, NAN)]),
        torch.tensor([1.0, NAN]).to(torch.float8_e5m2),
        torch.full((2, 3), NAN).T,
    ],
    ids=['both infinities', 'complex', 'float8', 'view'],
)
def test_kinds_of_tensors(tensor):
    with pytest.raises(CheckpointError, match=r'a\.pth: state_dict: w: got'):
        check_finite(dict(state_dict={'w': tensor}), 'a.pth')


@pytest.mark.parametrize('part', ['state_dict', 'ema_state_dict', 'model'])
def test_parts_that_hold_weights(part, tmp_path):
    content = {**checkpoint(), part: {'module.w': torch.tensor([NAN])}}
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=rf'a\.pth: {part}: module\.w: got 1 of'):
        read_checkpoint(tmp_path / 'a.pth')


def test_safetensors(tmp_path):
    save_file({'w': torch.tensor([1.0, NAN])}, tmp_path / 'a.safetensors')
    with pytest.raises(CheckpointError, match=r'a\.safetensors: state_dict: w: got 1'):
        load_weights(tmp_path / 'a.safetensors')


@pytest.mark.parametrize(
    'state',
    [
        {'huge.weight': torch.full((9,), 3e38)},  # whose sum overflows
        {'half.weight': torch.full((9,), 6e4, dtype=torch.float16)},
        {'bn.num_batches_tracked': torch.tensor(2**62), 'used': torch.tensor(True)},
        {'empty.weight': torch.ones(0, 3)},
        {'attn_mask': torch.tensor([0.0, -INF]), 'head.anchors': torch.tensor([INF])},
        {'observer.min_val': torch.tensor(INF), 'observer.max_val': torch.tensor(-INF)},
    ],
    ids=lambda state: next(iter(state)),
)
def test_what_is_meant_to_be_so(state, tmp_path):
    torch.save(state, tmp_path / 'a.pth')
    assert load_weights(tmp_path / 'a.pth').state_dict.keys() == state.keys()


def test_a_mask_is_no_excuse_for_nan():
    with pytest.raises(CheckpointError, match='attn_mask: got 1 of 2'):
        check_finite({'attn_mask': torch.tensor([-INF, NAN])}, 'a.pth')


def test_what_was_logged_may_be_anything(tmp_path):
    hub = dict(log_scalars={}, runtime_info=dict(best_score=-INF, loss=NAN))
    meta = dict(epoch=1, iter=1)
    torch.save(checkpoint(message_hub=hub, meta=meta), tmp_path / 'a.pth')
    read = read_checkpoint(tmp_path / 'a.pth')
    assert read['message_hub']['runtime_info']['best_score'] == -INF


class TestOptimizer:
    """Its averages matter to a training that is resumed, and to nothing else."""

    def content(self, value, several=False):
        moments = {0: dict(step=torch.tensor(1.0), exp_avg=torch.tensor([0.0, value]))}
        optimizer = dict(state=moments, param_groups=[dict(lr=0.1)])
        optimizer = dict(head=optimizer) if several else optimizer
        meta = dict(epoch=1, iter=1)
        return checkpoint(optimizer=optimizer, message_hub={}, meta=meta)

    @pytest.mark.parametrize('several', [False, True])
    @pytest.mark.parametrize('value', [NAN, INF])
    def test_is_refused_by_name(self, value, several):
        name = 'optimizer.head.state.0' if several else 'optimizer.state.0'
        with pytest.raises(CheckpointError, match=rf'a\.pth: {name}\.exp_avg: got 1'):
            check_resumable(self.content(value, several), 'a.pth')
        check_resumable(self.content(1.0, several), 'a.pth')

    def test_does_not_keep_from_testing(self, tmp_path):
        torch.save(self.content(NAN), tmp_path / 'a.pth')
        load_weights(tmp_path / 'a.pth')

    def test_an_earlier_checkpoint_is_resumed(self, tmp_path):
        torch.save(self.content(0.0), tmp_path / 'epoch_1.pth')
        torch.save(self.content(NAN), tmp_path / 'epoch_2.pth')
        (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_2.pth'))
        assert find_resumable(tmp_path) == tmp_path / 'epoch_1.pth'


@pytest.mark.parametrize('prefix', [None, 'backbone.'])
def test_pretrained_backbone(prefix, tmp_path):
    key = f'{prefix or ""}conv1.weight'
    torch.save({key: torch.full((8, 3, 7, 7), NAN)}, tmp_path / 'a.pth')
    init = dict(type='Pretrained', checkpoint=str(tmp_path / 'a.pth'), prefix=prefix)
    model = MODELS.build(retinanet(init_cfg=init))
    with pytest.raises(CheckpointError, match=rf'a\.pth: {key}: got 1176 of 1176'):
        model.init_weights()
