"""The report from real trainings of a second: complete, self-contained, readable."""

import json
import re
import runpy
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from aerialkd.errors import ConfigError
from aerialkd.visualization.report import page, write_report
from aerialkd.visualization.report.svg import Series, bar_chart, line_chart
from tests.builders import distill, retinanet, rotated_retinanet
from tests.processes import ROOT, run_tool
from tests.trained import (
    META_KEYS,
    config,
    dota_config,
    train,
    visdrone_config,
    write_turned_objects,
)

CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser')
SECTIONS = (
    'measures', 'training', 'objects', 'curves', 'pictures', 'features', 'origin'
)  # fmt: skip


@pytest.fixture(scope='module')
def runs(made_images, tmp_path_factory):
    """Work dirs of a teacher, of its student alone, resumed once, and distilled."""
    folder = tmp_path_factory.mktemp('runs')
    train(visdrone_config(retinanet(10, width=16), made_images), folder / 'teacher')
    alone = visdrone_config(retinanet(10), made_images)
    train(alone, folder / 'student')
    alone.train_cfg.max_epochs = 2
    wait_for_another_second(folder / 'student')
    train(alone, folder / 'student', resume=True)
    model = distill(
        architecture=retinanet(10),
        teacher=str(folder / 'teacher.py'),
        teacher_ckpt=str(folder / 'teacher' / 'epoch_1.pth'),
    )
    train(visdrone_config(model, made_images), folder / 'pkd')
    return [folder / name for name in ('pkd', 'student', 'teacher')]


@pytest.fixture(scope='module')
def report(runs, tmp_path_factory):
    return write_report(
        runs, tmp_path_factory.mktemp('out') / 'report.html', device='cpu'
    )


def wait_for_another_second(work_dir):
    """Sessions are folders named by the second they began in."""
    for session in [f for f in work_dir.iterdir() if f.is_dir()]:
        older = session.with_name('20200101_000000')
        session.rename(older)
        for file in older.rglob(f'{session.name}.*'):
            file.rename(file.with_name(file.name.replace(session.name, older.name)))


class Page(HTMLParser):
    """Tags, attributes and the text outside of pre and style."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.source = Path(path).read_text(encoding='utf-8')
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag in ('pre', 'style'):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open and tag == self.open[-1]:
            self.open.pop()

    def handle_data(self, data):
        if not self.open:
            self.words.append(data)

    @property
    def text(self):
        return ' '.join(' '.join(self.words).split())

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def test_nothing_is_loaded_from_outside(report):
    content = Page(report)
    for tag, attrs in content.tags:
        assert tag not in ('script', 'link', 'iframe', 'object', 'embed', 'base')
        for name in ('src', 'href', 'xlink:href', 'srcset', 'poster', 'action', 'data'):
            value = attrs.get(name) or '#'
            assert value.startswith(('#', 'data:image/webp;base64,')), (tag, value)
        assert not any(name.startswith('on') for name in attrs)
    addresses = re.findall(r'url\(\s*["\']?([^)]*)', content.source)
    assert all(address.startswith('#') for address in addresses)
    assert '@import' not in content.source
    assert '<!DOCTYPE svg' not in content.source
    assert '<metadata' not in content.source
    names = {'http://www.w3.org/2000/svg', 'http://www.w3.org/1999/xlink'}
    markup = re.sub(r'<pre.*?</pre>', '', content.source, flags=re.DOTALL)
    assert set(re.findall(r'https?://[^"\'\s<]*', markup)) <= names
    assert len(content.source.encode()) < page.MAX_BYTES


def test_every_section_is_there_and_can_be_reached(report):
    content = Page(report)
    ids = [attrs['id'] for _, attrs in content.tags if attrs.get('id')]
    assert len(ids) == len(set(ids))
    links = {attrs['href'] for attrs in content.all('a')}
    assert links == {f'#{name}' for name in SECTIONS}
    assert set(SECTIONS) <= set(ids)
    used = set(re.findall(r'(?:href="#|url\(#)([\w-]+)', content.source))
    assert used <= set(ids)
    assert any(attrs.get('name') == 'viewport' for attrs in content.all('meta'))
    assert all(attrs['alt'] for attrs in content.all('img'))


def test_what_the_page_says(report):
    text = Page(report).text
    assert re.search(r'PKD: AP [\d.]+, [\d.]+ (above|below) the student alone', text)
    for word in ('teacher', 'student alone', 'distilled, PKD', 'AP50', 'AP_S', 'car ('):
        assert word in text
    assert 'twice the multiply-adds' in text
    assert f'on cpu with {torch.get_num_threads()} thread' in text
    assert 'At most the 500 best detections' in text
    # Each loss has its chart; the distilled student's own ones stand with the others'.
    assert 'distill.loss_pkd' in text
    assert text.count(' loss_cls ') == 1
    assert 'student.loss_cls' not in text


def test_pictures_show_gains_and_losses(report):
    content = Page(report)
    scenes = re.findall(r'score [+\u2212]\d+', content.text)
    assert len(scenes) == 2  # both test images
    by_scene = [attrs['alt'] for attrs in content.all('img')][:8]
    assert sum('ground truth' in alt for alt in by_scene) == 2
    assert sum(re.search(r'found \d+, missed \d+, false \d+', a) is not None
               for a in by_scene) == 6  # fmt: skip
    for legend in ('found: solid', 'missed: dashed', 'false: crossed'):
        assert legend in content.text


def test_features_of_the_distilled_run(report):
    alts = [attrs['alt'] for attrs in Page(report).all('img')]
    assert len([alt for alt in alts if 'teacher and student (pkd)' in alt]) == 2


def test_features_without_the_teacher(runs, tmp_path):
    folder = bare(tmp_path / 'pkd', runs[0], '*.py', '*.pth', 'evaluation.*')
    file = folder / 'pkd.py'
    cfg = Config.fromfile(file)
    cfg.model.teacher_ckpt = str(tmp_path / 'gone' / 'epoch_1.pth')
    cfg.dump(file)
    content = Page(write_report([folder], tmp_path / 'alone.html', device='cpu'))
    assert re.search(r'No pictures: .*gone/epoch_1\.pth', content.text)
    assert not any('Features' in attrs['alt'] for attrs in content.all('img'))
    # The teacher's own work dir is in the report: its checkpoint is taken.
    both = Page(write_report([folder, runs[2]], tmp_path / 'both.html', device='cpu'))
    assert sum('Features' in attrs['alt'] for attrs in both.all('img')) == 2


def test_how_it_was_made(report, runs):
    content = Page(report)
    for folder in runs:
        assert f'work dir {folder}' in content.text
        assert f'{folder}_again' in content.text
    assert 'minutes in 2 sessions' in content.text
    assert 'epoch_2.pth' in content.text
    assert 'git revision' in content.text
    assert re.search(r'torch[^ ]* .*2\.', content.text)
    # The student itself is the same: only what distils is listed.
    rows = re.findall(r'<tr><td>(distillation\.[\w.]+)</td>', content.source)
    assert 'distillation.distiller.distill_losses.pkd.type' in rows
    assert not re.findall(r'<tr><td>(model\.[\w.]+)</td>', content.source.split(
        'id="origin"')[1].split('<h3>pkd')[1])  # fmt: skip


def test_the_log_of_a_resumed_run_is_one_line(report, runs):
    (student,) = [run for run in page.read_runs(runs) if run.name == 'student']
    steps = [step for step, _ in student.log.losses['loss']]
    assert steps == [1, 2, 3, 4, 5, 6]
    assert [epoch for epoch, _ in student.log.validations] == [1, 2]


def test_a_second_report_evaluates_nothing(report, runs, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError('it was evaluated again')

    monkeypatch.setattr('aerialkd.engine.evaluated.build_test_runner', refuse)
    again = write_report(runs, tmp_path / 'again.html', device='cpu')
    assert Page(again).all('img') == Page(report).all('img')


def bare(folder, run, *names):
    """A work dir with nothing but these parts of another one."""
    folder.mkdir()
    for name in names:
        for part in run.glob(name):
            (shutil.copytree if part.is_dir() else shutil.copy)(
                part, folder / part.name
            )
    return folder


def test_without_checkpoints_the_log_speaks(runs, tmp_path):
    folder = bare(tmp_path / 'logged', runs[1], '2*', '*.py')
    text = Page(write_report([folder], tmp_path / 'r.html')).text
    assert 'validation after epoch 2, as there is no checkpoint' in text
    assert 'No run was evaluated.' in text
    assert 'No distilled run' in text


def test_a_config_alone_is_not_evaluated(runs, tmp_path):
    folder = bare(tmp_path / 'config', runs[0], '*.py')
    text = Page(write_report([folder], tmp_path / 'r.html')).text
    assert 'Not evaluated: config.' in text
    assert 'config is not evaluated: there is no checkpoint.' in text
    assert 'There are no training logs' in text


def test_no_evaluation_when_it_is_switched_off(runs, tmp_path):
    folder = bare(tmp_path / 'fresh', runs[1], '*.py', '*.pth', '*_*')
    (folder / 'evaluation.json').unlink(missing_ok=True)
    report = write_report([folder], tmp_path / 'r.html', evaluate=False)
    assert 'as evaluation was switched off' in Page(report).text
    assert not (folder / 'evaluation.json').exists()


def test_a_moved_work_dir_has_its_checkpoint(runs, tmp_path):
    folder = bare(tmp_path / 'moved', runs[1], '*')
    (run,) = page.read_runs([folder])
    assert run.checkpoint == folder / 'epoch_2.pth'
    (folder / 'last_checkpoint').unlink()
    (folder / 'epoch_10.pth').touch()
    assert page.read_runs([folder])[0].checkpoint == folder / 'epoch_10.pth'


def test_test_data_that_is_gone_is_a_remark(runs, tmp_path):
    folder = bare(tmp_path / 'moved', runs[1], '*.py', 'epoch_2.pth', 'last_checkpoint')
    file = folder / 'student.py'
    cfg = Config.fromfile(file)
    cfg.test_dataloader.dataset.data_root = str(tmp_path / 'gone')
    cfg.dump(file)
    text = Page(write_report([folder], tmp_path / 'r.html')).text
    assert re.search(r'moved is not evaluated: test data cannot be read: .*gone', text)


def test_folders_without_a_run_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r'nothing: no such folder'):
        write_report([tmp_path / 'nothing'], tmp_path / 'r.html')
    with pytest.raises(ConfigError, match=r'holds no run: neither a dumped config'):
        write_report([tmp_path], tmp_path / 'r.html')
    assert not (tmp_path / 'r.html').exists()


def test_a_page_that_is_too_large_is_not_written(report, runs, tmp_path, monkeypatch):
    size, tried = report.stat().st_size, []
    add = page._add_pictures

    def count(part, budget):
        tried.append(budget)
        add(part, budget)

    monkeypatch.setattr(page, '_add_pictures', count)
    monkeypatch.setattr(page, 'MAX_BYTES', size - 100)
    smaller = write_report(runs, tmp_path / 'r.html', device='cpu')
    assert len(tried) == 2
    assert smaller.stat().st_size <= size - 100
    monkeypatch.setattr(page, 'MAX_BYTES', 1000)
    with pytest.raises(ConfigError, match='expected at most'):
        write_report(runs, tmp_path / 'no.html', device='cpu')
    assert not (tmp_path / 'no.html').exists()


# mmrotate's measure leaves its temporary folder to the garbage collector.
@pytest.mark.filterwarnings('ignore:Implicitly cleaning up:ResourceWarning')
def test_rotated_boxes(tmp_path, without_processes):
    cfg = dota_config(rotated_retinanet(), write_turned_objects(tmp_path / 'dota'))
    folder = train(cfg, tmp_path / 'turned')
    content = Page(write_report([folder], tmp_path / 'r.html', device='cpu'))
    assert 'mAP in percent: turned' in content.text
    assert 'AP by class' in content.text
    assert 'plane (3)' in content.text
    assert 'harbor' not in content.text.split('How it was made')[-2]
    assert 'rotated boxes are matched as DOTA does' in content.text
    assert len(content.all('img')) == 6  # three images, a column of truth, one of ours


def test_coco(tmp_path, runs):
    folder = train(coco_config(tmp_path), tmp_path / 'plain')
    content = Page(write_report([folder, runs[1]], tmp_path / 'r.html', device='cpu'))
    assert 'The runs belong to 2 sets of classes or test data' in content.text
    assert 'AP in percent: plain' in content.text
    assert 'by CocoMetric' in content.text
    assert 'car (2)' in content.text
    assert 'difference to the student alone' not in content.text


def coco_config(root):
    (root / 'images').mkdir()
    images, annotations = [], []
    for index in range(2):
        image = np.full((48, 64, 3), 40, np.uint8)
        image[10:26, 12:40] = 220
        cv2.imwrite(str(root / 'images' / f'{index}.png'), image)
        images.append(dict(id=index, file_name=f'{index}.png', width=64, height=48))
        box = dict(bbox=[12, 10, 28, 16], area=448, iscrowd=0, category_id=1)
        annotations.append(dict(id=index + 1, image_id=index, **box))
    categories = [dict(id=1, name='car'), dict(id=2, name='<b>&$x$')]
    content = dict(images=images, annotations=annotations, categories=categories)
    (root / 'coco.json').write_text(json.dumps(content))
    load = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='LoadAnnotations', with_bbox=True),
    ]
    dataset = dict(
        type='CocoDataset',
        ann_file=str(root / 'coco.json'),
        data_prefix=dict(img=str(root / 'images')),
        metainfo=dict(classes=('car', '<b>&$x$')),
    )
    pack = dict(type='PackDetInputs', meta_keys=META_KEYS)
    return config(
        retinanet(2),
        dict(**dataset, pipeline=[*load, dict(type='PackDetInputs')]),
        dict(**dataset, pipeline=[*load, pack], test_mode=True),
        dict(type='CocoMetric', ann_file=str(root / 'coco.json'), metric='bbox'),
    )


def test_names_cannot_break_the_page():
    name = '</text><script>alert("1")</script>$a_b$'
    series = [Series(name, '#000000', (), [0, 1], [0.5, float('nan')])]
    for chart in (
        bar_chart(name, [name, 'b'], series, 'percent', 'a'),
        line_chart(name, series, name, '', 'b'),
    ):
        assert '<script' not in chart.svg
        assert '$a_b$</text>' in chart.svg


def test_the_tool_ends_in_one_line(tmp_path):
    done = run_tool('report', tmp_path, '--out', tmp_path / 'r.html')
    assert done.returncode == 2
    assert 'Traceback' not in done.stderr
    assert f'error: {tmp_path}: holds no run' in done.stderr.strip().splitlines()[-1]


def test_the_package_has_its_data(monkeypatch):
    given = {}
    monkeypatch.setattr('setuptools.setup', lambda **kwargs: given.update(kwargs))
    runpy.run_path(str(ROOT / 'setup.py'))
    packaged = {
        file
        for package, patterns in given['package_data'].items()
        for pattern in patterns
        for file in (ROOT / package.replace('.', '/')).glob(pattern)
    }
    folder = ROOT / 'aerialkd' / 'visualization' / 'report'
    assert 'aerialkd.visualization.report' in given['packages']
    needed = {f for f in folder.iterdir() if f.is_file() and f.suffix != '.py'}
    assert {'report.html.j2', 'style.css'} == {file.name for file in needed}
    assert needed <= packaged


@pytest.mark.skipif(CHROMIUM is None, reason='no chromium to measure the page with')
def test_the_page_fits_phone_and_desktop(report, tmp_path):
    frame = f'<iframe src="{report.as_uri()}" width="{{}}" height="900"></iframe>'
    frames = ''.join(frame.format(width) for width in (390, 1280))
    script = (
        'onload = () => { document.title = [...document.querySelectorAll("iframe")]'
        '.map(f => f.contentDocument.documentElement)'
        '.map(e => e.scrollWidth + "/" + e.clientWidth).join(" ") }'
    )
    wrapper = tmp_path / 'wrapper.html'
    style = '<style>iframe { border: 0 }</style>'
    wrapper.write_text(f'<title></title>{style}{frames}<script>{script}</script>')
    options = (
        'headless no-sandbox disable-gpu disable-quic no-first-run disable-sync '
        'disable-background-networking disable-component-update hide-scrollbars '
        f'allow-file-access-from-files user-data-dir={tmp_path}/profile dump-dom'
    )
    command = [
        CHROMIUM,
        *(f'--{option}' for option in options.split()),
        wrapper.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    title = re.search('<title>(.*?)</title>', done.stdout)
    assert title, done.stderr[-2000:]
    assert title[1] == '390/390 1280/1280'
