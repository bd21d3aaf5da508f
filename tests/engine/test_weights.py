import pytest
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from mmengine.registry import MODELS
from safetensors.torch import save_file

from aerialkd.engine import load_strictly, load_weights, read_checkpoint
from aerialkd.errors import CheckpointError
from tests.builders import gfl, retinanet

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


class TestKeysWithoutAPart:
    """What files of the ecosystem hold beside the weights of a detector."""

    @pytest.fixture
    def model(self):
        return MODELS.build(retinanet())

    def load(self, model, state, folder):
        torch.save(dict(state_dict=state), folder / 'zoo.pth')
        load_strictly(model, load_weights(folder / 'zoo.pth'))

    def test_files_without_counters(self, model, tmp_path):
        """From before torch 0.4.1, and of converters."""
        state = {
            key: value + 1
            for key, value in model.state_dict().items()
            if not key.endswith('num_batches_tracked')
        }
        self.load(model, state, tmp_path)
        key = 'backbone.bn1.running_var'
        assert torch.equal(model.state_dict()[key], state[key])

    def test_averaged_copies_of_mmdetection_2(self, model, tmp_path):
        state = dict(model.state_dict())
        copies = {f'ema_{k.replace(".", "_")}': v + 1 for k, v in state.items()}
        self.load(model, {**state, **copies}, tmp_path)
        named = {f'module.{key}': value for key, value in {**state, **copies}.items()}
        self.load(model, named, tmp_path)
        assert torch.equal(model.backbone.conv1.weight, state['backbone.conv1.weight'])
        with pytest.raises(CheckpointError, match='1 not in the model: ema_of_nothing'):
            self.load(model, {**state, 'ema_of_nothing': torch.ones(1)}, tmp_path)

    @pytest.mark.parametrize('prefix', ['architecture.', 'student.'])
    def test_student_beside_a_teacher(self, prefix, model, tmp_path):
        state = {f'{prefix}{key}': v + 1 for key, v in model.state_dict().items()}
        beside = ('teacher.neck.w', 'distiller.connectors.w', 'distill_losses.mgd.w')
        self.load(model, {**state, **dict.fromkeys(beside, torch.ones(1))}, tmp_path)
        weight = model.backbone.conv1.weight
        assert torch.equal(weight, state[f'{prefix}backbone.conv1.weight'])

    @pytest.mark.parametrize(
        'key',
        [
            'backbone.other.num_batches_tracked',
            'bbox_head.loss_cls.cum_samples',
            'roi_head.bbox_head.0.loss_cls.pos_grad',
        ],
    )
    def test_what_training_counts(self, key, model, tmp_path):
        self.load(model, {**model.state_dict(), key: torch.ones(3)}, tmp_path)

    @pytest.mark.parametrize(
        'key',
        [
            *('bbox_head.cls_weight', 'loss_cls.w', 'neck.loss.w', 'backbone.extra'),
            *('distill.loss_mgd.w', 'data_preprocessor.var', 'data_preprocessor'),
        ],
    )
    def test_everything_else_is_refused(self, key, model, tmp_path):
        with pytest.raises(CheckpointError, match=f'1 not in the model: {key}'):
            self.load(model, {**model.state_dict(), key: torch.ones(3)}, tmp_path)

    def test_weights_of_a_loss_may_not_be_missing(self, model, tmp_path):
        state = model.state_dict()
        model.bbox_head.loss_cls.weight = torch.nn.Parameter(torch.ones(3))
        with pytest.raises(CheckpointError, match=r'1 missing .*loss_cls\.weight'):
            self.load(model, state, tmp_path)

    @pytest.mark.parametrize('name', ['priors', 'neck.grid'])
    def test_buffers_that_are_made_anew(self, name, model, tmp_path):
        """Saved by a version in which they were persistent, and equal."""
        owner = model.get_submodule(name.rpartition('.')[0])
        values = torch.arange(6.0).reshape(2, 3)
        owner.register_buffer(name.rpartition('.')[2], values, persistent=False)
        state = {**model.state_dict(), name: values[None]}
        self.load(model, state, tmp_path)
        with pytest.raises(CheckpointError, match=f'1 not in the model: {name}'):
            self.load(model, {**state, name: values + 1}, tmp_path)
        with pytest.raises(CheckpointError, match=f'1 not in the model: {name}'):
            self.load(model, {**state, name: torch.ones(5)}, tmp_path)

    def test_integral_of_gfl(self, tmp_path):
        model = MODELS.build(gfl())
        state = model.state_dict()
        assert 'bbox_head.integral.project' in state
        self.load(model, state, tmp_path)

    def test_versions_as_an_entry(self, model, tmp_path):
        state = model.state_dict()
        self.load(model, {**state, '_metadata': dict(state._metadata)}, tmp_path)
