"""What the tests of loading share."""

import functools
import http.server
import logging
import threading

import pytest
import torch
from mmengine.logging import MMLogger


@pytest.fixture
def logged() -> list[str]:
    """The warnings that reach MMEngine's logger."""
    lines: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(record.getMessage())

    handler = Keep(level=logging.WARNING)
    logger = MMLogger.get_current_instance()
    logger.addHandler(handler)
    yield lines
    logger.removeHandler(handler)


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.requests += 1

    def end_headers(self):
        if self.path.startswith('/short'):
            self.close_connection = True
        super().end_headers()

    def copyfile(self, source, outputfile):
        data = source.read()
        outputfile.write(data[:100] if self.path.startswith('/short') else data)


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
