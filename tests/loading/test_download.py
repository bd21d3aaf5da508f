"""Checkpoints by URL, from a server of this machine."""

import re
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from aerialkd.engine import load_weights
from aerialkd.errors import CheckpointError
from aerialkd.files import sha256_of
from aerialkd.loading import model_zoos
from aerialkd.loading.download import downloaded
from tests.loading.hostile import STATE, content, system
from tests.shipped import ROOT


def put(server, name='teacher.pth', value=STATE):
    torch.save(value, server.www / name)
    return f'{server.url}/{name}', sha256_of(server.www / name)


def put_hashed(server, name='net', value=STATE):
    """With the start of its digest in its name, as torch.hub has files."""
    _, digest = put(server, f'{name}.pth', value)
    hashed = f'{name}-{digest[:8]}.pth'
    (server.www / f'{name}.pth').rename(server.www / hashed)
    return f'{server.url}/{hashed}', digest


class TestTeacher:
    def test_is_downloaded_once(self, server):
        url, digest = put(server)
        for _ in range(2):
            weights = load_weights(f'{url}#sha256={digest}')
            assert torch.equal(weights.state_dict['b'], STATE['b'])
        assert server.requests == 1
        assert [file.name for file in server.kept.iterdir()] == ['teacher.pth']

    def test_needs_a_digest(self, server):
        url, _ = put(server, 'teacher-01234567.pth')
        with pytest.raises(CheckpointError, match=r'needs its digest.*sha256sum FILE'):
            load_weights(url)
        assert server.requests == 0

    def test_wrong_download_is_deleted(self, server):
        url, _ = put(server)
        with pytest.raises(CheckpointError, match=r'got .* expected abab.*deleted'):
            load_weights(f'{url}#sha256={"ab" * 32}')
        assert list(server.kept.iterdir()) == []

    def test_kept_copy_is_checked_again(self, server):
        url, digest = put(server)
        load_weights(f'{url}#sha256={digest}')
        (server.kept / 'teacher.pth').write_bytes(b'changed')
        load_weights(f'{url}#sha256={digest}')
        assert server.requests == 2
        # Without the server, a changed copy is an error and not read.
        (server.kept / 'teacher.pth').write_bytes(b'changed')
        (server.www / 'teacher.pth').unlink()
        with pytest.raises(CheckpointError, match='404'):
            load_weights(f'{url}#sha256={digest}')

    def test_kept_copy_survives_a_wrong_download(self, server):
        url, digest = put(server)
        load_weights(f'{url}#sha256={digest}')
        with pytest.raises(CheckpointError, match='deleted unread'):
            load_weights(f'{url}#sha256={"ab" * 32}')
        assert sha256_of(server.kept / 'teacher.pth') == digest

    def test_hostile_file_of_the_right_digest(self, server, tmp_path):
        value = content('state_dict', system(tmp_path / 'target'))
        url, digest = put(server, value=value)
        with pytest.raises(CheckpointError, match='refused'):
            load_weights(f'{url}#sha256={digest}')
        assert not (tmp_path / 'target').exists()

    @pytest.mark.parametrize('address', ['', '/', '/..', '/folder/'])
    def test_address_without_a_file(self, server, address):
        with pytest.raises(CheckpointError, match=r'names no file|cannot be'):
            load_weights(f'{server.url}{address}#sha256={"0" * 64}')

    def test_no_server(self, server):
        server.kept.mkdir(parents=True)
        with pytest.raises(CheckpointError, match='cannot be downloaded'):
            load_weights(f'http://127.0.0.1:9/a.pth#sha256={"0" * 64}')
        assert list(server.kept.iterdir()) == []

    def test_others_wait_for_the_first_process(self, server, monkeypatch):
        url, digest = put(server)
        waited = []
        module = 'aerialkd.loading.download'
        monkeypatch.setattr(f'{module}.barrier', lambda: waited.append(1))
        monkeypatch.setattr(f'{module}.is_main_process', lambda: False)
        with pytest.raises(CheckpointError, match='after the first process'):
            load_weights(f'{url}#sha256={digest}')
        assert (server.requests, waited) == (0, [1])
        monkeypatch.setattr(f'{module}.is_main_process', lambda: True)
        load_weights(f'{url}#sha256={digest}')
        with pytest.raises(CheckpointError, match='deleted'):
            load_weights(f'{url}#sha256={"0" * 64}')
        assert waited == [1, 1, 1]  # also after the error


class TestMMEngine:
    """``load_from``, ``init_cfg`` and ``init_detector``, which end in this."""

    def test_digest_in_the_name(self, server):
        url, digest = put_hashed(server)
        got = CheckpointLoader.load_checkpoint(url, 'cpu')
        assert torch.equal(got['b'], STATE['b'])
        other = server.www / url.rpartition('/')[2].replace(digest[:8], '0' * 8)
        other.write_bytes(b'another file')
        with pytest.raises(CheckpointError, match='deleted unread'):
            CheckpointLoader.load_checkpoint(f'{server.url}/{other.name}', 'cpu')

    def test_digest_behind_the_address(self, server):
        url, digest = put(server)
        assert load_checkpoint(torch.nn.Linear(1, 1), f'{url}#sha256={digest}')
        with pytest.raises(CheckpointError, match='expected 0000'):
            load_checkpoint(torch.nn.Linear(1, 1), f'{url}#sha256={"0" * 64}')

    def test_without_a_digest_it_warns(self, server, logged):
        url, _ = put(server)
        CheckpointLoader.load_checkpoint(url, 'cpu')
        assert any('states no digest' in line for line in logged)

    def test_hostile_file(self, server, tmp_path):
        url, _ = put(server, value=content('meta', system(tmp_path / 'target')))
        with pytest.raises(CheckpointError, match='refused'):
            CheckpointLoader.load_checkpoint(url)
        assert not (tmp_path / 'target').exists()

    def test_connection_that_breaks(self, server):
        url, _ = put(server, 'short.pth')
        with pytest.raises(CheckpointError, match=r'100 of \d+ bytes|IncompleteRead'):
            CheckpointLoader.load_checkpoint(url)
        assert list(server.kept.iterdir()) == []

    @pytest.mark.parametrize('scheme', ['openmmlab://', 'open-mmlab://', 'mmcls://'])
    def test_names_of_model_zoos(self, scheme, server, tmp_path, monkeypatch):
        url, _ = put(server, value=content('meta', system(tmp_path / 'target')))
        for name in ('get_external_models', 'get_mmcls_models'):
            monkeypatch.setattr(mmengine_checkpoint, name, lambda: {'net': url})
        with pytest.raises(CheckpointError, match='refused'):
            CheckpointLoader.load_checkpoint(f'{scheme}net')
        assert server.requests == 1
        assert not (tmp_path / 'target').exists()

    def test_buckets(self, tmp_path, monkeypatch):
        torch.save(content('meta', system(tmp_path / 'target')), tmp_path / 'a.pth')

        class Backend:
            def get(self, _):
                return (tmp_path / 'a.pth').read_bytes()

        monkeypatch.setattr(
            mmengine_checkpoint, 'get_file_backend', lambda *_, **__: Backend()
        )
        with pytest.raises(CheckpointError, match='refused'):
            CheckpointLoader.load_checkpoint('s3://bucket/a.pth')
        assert not (tmp_path / 'target').exists()


def load(name):
    return CheckpointLoader.load_checkpoint(name, 'cpu')


class TestTorchvision:
    """``torchvision://`` names, through the table that MMEngine ships."""

    @pytest.fixture
    def table(self, monkeypatch):
        urls = {}
        monkeypatch.setattr(model_zoos, 'torchvision_urls', lambda: urls)
        # Whatever is installed has no say.
        monkeypatch.setitem(sys.modules, 'torchvision', None)
        return urls

    @pytest.mark.parametrize('scheme', ['torchvision://', 'modelzoo://'])
    def test_every_form_of_a_name_is_one_file_fetched_once(self, scheme, server, table):
        table['net_x0.5'], digest = put_hashed(server)
        forms = ('net_x0.5', 'net_x0.5.imagenet1k_v1', 'Net_X0.5_Weights.IMAGENET1K_V1')
        for form in (*forms, f'net_x0.5#sha256={digest}'):
            assert torch.equal(load(f'{scheme}{form}')['b'], STATE['b'])
        assert server.requests == 1
        with pytest.raises(CheckpointError, match='expected 0000'):
            load(f'{scheme}net_x0.5#sha256={"0" * 64}')

    def test_another_file_than_the_name_says(self, server, table):
        table['net'], digest = put_hashed(server)
        file = server.www / f'net-{digest[:8]}.pth'
        torch.save({'b': torch.ones(1)}, file)
        with pytest.raises(CheckpointError, match=f'expected {digest[:8]}; it was del'):
            load('torchvision://net')
        assert list(server.kept.iterdir()) == []
        # Nor is a copy trusted that was kept from before.
        (server.kept / file.name).write_bytes(file.read_bytes())
        with pytest.raises(CheckpointError, match=f'expected {digest[:8]}; it was del'):
            load('torchvision://net')

    def test_connection_that_breaks(self, server, table):
        table['net'], _ = put_hashed(server, 'short')
        with pytest.raises(CheckpointError, match=r'100 of \d+ bytes|IncompleteRead'):
            load('torchvision://net')
        assert list(server.kept.iterdir()) == []

    def test_without_a_network_it_says_what_to_do(self, server, table):
        table['net'] = 'http://127.0.0.1:9/net-01234567.pth'
        kept = re.escape(str(server.kept / 'net-01234567.pth'))
        remedy = (
            rf'{table["net"]}: cannot.*by hand and put it at {kept}, or.*init_cfg.*'
        )
        with pytest.raises(CheckpointError, match=f'{remedy}--cfg-options model'):
            load('torchvision://net')

    @pytest.mark.parametrize(
        ('name', 'close'),
        [
            ('resnet5', 'resnet50, resnet152'),
            ('ResNet50_Weights.IMAGENET1K_V2', 'resnet50, '),
            ('resnet50.default', 'resnet50, '),
            ('shufflenetv2_x1.5', 'shufflenetv2_x1.0, '),  # without an address there
            ('', 'alexnet, '),
        ],
    )
    def test_unknown_names(self, name, close):
        with pytest.raises(CheckpointError) as caught:
            load(f'torchvision://{name}')
        assert str(caught.value).startswith(f'torchvision://{name}: got a name that')
        assert 'torchvision 0.12' in str(caught.value)
        assert close in str(caught.value)

    def test_shipped_table(self):
        urls = model_zoos.torchvision_urls().values()
        assert len(urls) > 50
        # Without digits the file would not be checked.
        assert all(re.search(r'-[0-9a-f]{8,64}\.pth$', url) for url in urls)
        address = 'https://download.pytorch.org/models/resnet50-0676ba61.pth'
        assert model_zoos.torchvision_url('torchvision://resnet50') == address

    def test_shipped_backbone_starts_from_it(self, server, table, monkeypatch):
        monkeypatch.chdir(ROOT)
        init_default_scope('mmdet')
        name = 'configs/detectors/retinanet/retinanet_r18_fpn_1x_visdrone-512.py'
        backbone = Config.fromfile(name).model.backbone
        weights = {
            key: torch.full_like(value, 2)
            for key, value in MODELS.build(backbone).state_dict().items()
        }
        table['resnet18'], _ = put_hashed(server, 'resnet18', weights)
        built = MODELS.build(backbone)
        built.init_weights()
        assert all((value == 2).all() for value in built.state_dict().values())


def test_names_in_shipped_configs_are_known():
    texts = [path.read_text() for path in (ROOT / 'configs').rglob('*.py')]
    names = {name for text in texts for name in re.findall(r"'(\S+://\S+)'", text)}
    assert len(names) >= 5
    for name in names:
        if name.startswith('torchvision://'):
            assert model_zoos.torchvision_url(name).startswith('https://')
        else:
            assert name.startswith('open-mmlab://')
            model_zoos.check_openmmlab_name(name)


@pytest.mark.parametrize(
    ('name', 'close'),
    [
        ('open-mmlab://jhu/resnet50_gn', 'jhu/resnet50_gn_ws'),
        ('openmmlab://msra/hrnetv2_w19', 'msra/hrnetv2_w18'),
        # MMEngine's list of names that were replaced has it, its table has not.
        ('open-mmlab://resnet50_caffe_bgr', 'detectron2/resnet50_caffe'),
        ('mmcls://resnet', 'resnet18'),
    ],
)
def test_unknown_names_of_other_zoos(name, close):
    with pytest.raises(CheckpointError, match=re.escape(f'{name}: got a name')) as told:
        load(name)
    assert close in str(told.value)


def test_names_of_other_kinds_say_what_is_read():
    with pytest.raises(CheckpointError, match=r'jhu://.*not read.*open-mmlab://'):
        load('jhu://resnet50_gn_ws')


def test_a_file_of_the_same_name_from_elsewhere_is_not_taken_for_it(server):
    """Of names without a digest, as init_cfg has them."""
    for number, folder in enumerate(('a', 'b')):
        (server.www / folder).mkdir()
        (server.www / folder / 'weights.pth').write_bytes(b'%d' % number)
    first, second = (f'{server.url}/{folder}/weights.pth' for folder in 'ab')
    assert downloaded(first, '').read_bytes() == b'0'
    assert downloaded(first, '').read_bytes() == b'0'
    assert server.requests == 1
    kept = downloaded(second, '')
    assert kept.read_bytes() == b'1'
    assert server.requests == 2
    # What somebody else put there is taken, and said.
    (kept.parent / '.weights.pth.json').unlink()
    assert downloaded(first, '').read_bytes() == b'1'
    assert server.requests == 2
