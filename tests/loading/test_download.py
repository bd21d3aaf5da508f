"""Checkpoints by URL, from a server of this machine."""

import functools
import http.server
import threading

import pytest
import torch
from mmengine.runner import CheckpointLoader, load_checkpoint
from mmengine.runner import checkpoint as mmengine_checkpoint

from aerialkd.engine import load_weights
from aerialkd.errors import CheckpointError
from aerialkd.files import sha256_of
from tests.loading.hostile import STATE, content, system


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.requests += 1

    def end_headers(self):
        if self.path == '/short.pth':
            self.close_connection = True
        super().end_headers()

    def copyfile(self, source, outputfile):
        data = source.read()
        outputfile.write(data[:100] if self.path == '/short.pth' else data)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Serves tmp_path/www; torch.hub's folder is tmp_path/hub."""
    (tmp_path / 'www').mkdir()
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setenv('no_proxy', '127.0.0.1')
    handler = functools.partial(Handler, directory=str(tmp_path / 'www'))
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler) as running:
        running.requests = 0
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        running.url = f'http://127.0.0.1:{running.server_port}'
        running.www = tmp_path / 'www'
        running.kept = tmp_path / 'hub' / 'checkpoints'
        yield running
        running.shutdown()
        thread.join()


def put(server, name='teacher.pth', value=STATE):
    torch.save(value, server.www / name)
    return f'{server.url}/{name}', sha256_of(server.www / name)


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
        _, digest = put(server)
        url, _ = put(server, f'resnet-{digest[:8]}.pth')
        # The file's own digest depends on its name: the archive holds it.
        digest = sha256_of(server.www / f'resnet-{digest[:8]}.pth')
        with pytest.raises(CheckpointError, match='deleted unread'):
            CheckpointLoader.load_checkpoint(url, 'cpu')
        (server.www / f'resnet-{digest[:8]}.pth').write_bytes(
            (server.www / url.rpartition('/')[2]).read_bytes()
        )
        url = f'{server.url}/resnet-{digest[:8]}.pth'
        got = CheckpointLoader.load_checkpoint(url, 'cpu')
        assert torch.equal(got['b'], STATE['b'])

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
