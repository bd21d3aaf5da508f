import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import MODELS
from safetensors.torch import save_file

from aerialkd.engine import load_strictly, load_weights, read_checkpoint
from aerialkd.errors import CheckpointError
from tests.builders import retinanet

STATE = {'backbone.weight': torch.arange(3.0)}


def test_training_checkpoint_of_mmengine(tmp_path):
    # The message hub holds history buffers, numpy arrays and bound methods.
    hub = MessageHub.get_instance('weights-test')
    hub.update_scalar('loss', 1.5)
    content = dict(
        state_dict=STATE,
        meta=dict(dataset_meta=dict(classes=('car', 'van'), palette=[(1, 2, 3)])),
        message_hub=hub.state_dict(),
        optimizer=dict(state={}, param_groups=[dict(lr=0.1)]),
    )
    torch.save(content, tmp_path / 'epoch_1.pth')
    weights = load_weights(tmp_path / 'epoch_1.pth')
    assert weights.classes == ('car', 'van')
    assert torch.equal(weights.state_dict['backbone.weight'], torch.arange(3.0))
    restored = read_checkpoint(tmp_path / 'epoch_1.pth')['message_hub']
    assert isinstance(restored['log_scalars']['loss'], HistoryBuffer)


@pytest.mark.parametrize(
    'wrap', [lambda state: state, lambda state: dict(state_dict=state)]
)
def test_plain_state_dict(tmp_path, wrap):
    torch.save(wrap(STATE), tmp_path / 'plain.pth')
    weights = load_weights(tmp_path / 'plain.pth')
    assert set(weights.state_dict) == set(STATE)
    assert weights.classes is None


def test_safetensors_with_classes(tmp_path):
    save_file(
        STATE, tmp_path / 'student.safetensors', {'classes': 'car\nawning-tricycle'}
    )
    weights = load_weights(tmp_path / 'student.safetensors')
    assert weights.classes == ('car', 'awning-tricycle')
    assert torch.equal(weights.state_dict['backbone.weight'], torch.arange(3.0))


def test_wrappers_are_taken_off_and_distillation_left_out(tmp_path):
    state = {
        'module.architecture.neck.teacher.weight': torch.ones(1),
        'module.teacher.neck.weight': torch.zeros(1),
        'distiller.connectors.align.weight': torch.zeros(1),
        'backbone.architecture.bias': torch.ones(2),
    }
    torch.save(state, tmp_path / 'mmrazor.pth')
    names = set(load_weights(tmp_path / 'mmrazor.pth').state_dict)
    # Only leading prefixes: the same words inside a name stay.
    assert names == {'neck.teacher.weight', 'backbone.architecture.bias'}


@pytest.mark.parametrize(
    ('name', 'content', 'message'),
    [
        ('empty.pth', b'', 'damaged'),
        ('garbage.pth', b'not a checkpoint at all', '(damaged|refused)'),
        ('garbage.safetensors', b'\xff' * 64, 'not a safetensors file'),
        ('list.pth', None, 'holds a list'),
    ],
)
def test_files_that_are_no_checkpoints(tmp_path, name, content, message):
    if content is None:
        torch.save([1, 2], tmp_path / name)
    else:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        load_weights(tmp_path / name)


def test_truncated_checkpoint(tmp_path):
    torch.save(dict(state_dict={'w': torch.zeros(1000)}), tmp_path / 'whole.pth')
    data = (tmp_path / 'whole.pth').read_bytes()
    (tmp_path / 'half.pth').write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match=r'half\.pth: damaged'):
        load_weights(tmp_path / 'half.pth')


def test_missing_file_and_url():
    with pytest.raises(CheckpointError, match='no such checkpoint'):
        load_weights('nowhere.pth')
    with pytest.raises(CheckpointError, match=r'needs its digest.*sha256sum'):
        load_weights('https://example.org/teacher.pth')
    with pytest.raises(CheckpointError, match='got a location that is not read'):
        load_weights('torchvision://resnet50')


def test_strict_load_reports_and_changes_nothing(tmp_path):
    model = MODELS.build(retinanet())
    state = {key: value + 1 for key, value in model.state_dict().items()}
    state.pop('backbone.conv1.weight')
    torch.save(state, tmp_path / 'partial.pth')
    before = model.neck.fpn_convs[0].conv.weight.clone()
    weights = load_weights(tmp_path / 'partial.pth')
    with pytest.raises(
        CheckpointError, match=r'1 missing from the file: backbone.conv1'
    ):
        load_strictly(model, weights)
    assert torch.equal(model.neck.fpn_convs[0].conv.weight, before)
    load_strictly(model, weights, ['backbone.conv1.*'])
    assert torch.equal(model.neck.fpn_convs[0].conv.weight, before + 1)
