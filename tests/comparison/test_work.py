"""What is trained and in which order; finished runs as results; what they cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config

from aerialkd.comparison import compare as comparing
from aerialkd.comparison import profiles, work
from aerialkd.comparison.compare import Options, compare
from aerialkd.comparison.measured import digest
from aerialkd.comparison.results import read_csv, write_csv
from aerialkd.comparison.trainings import ToolError, last_checkpoint, seeded
from aerialkd.comparison.work import jobs_of, jobs_to_do, results_of, train_all
from aerialkd.engine.evaluated_cache import keep, key_of
from aerialkd.engine.noted_inputs import note_inputs
from aerialkd.errors import ConfigError
from aerialkd.files import sha256_of
from tests.comparison.miniature import NAME, write_pair
from tests.finished import evaluation, measured

METHODS = ('teacher', 'student alone', 'mgd', 'pkd')
PROFILE = dict(
    student_ms=40.0, teacher_ms=30.0, whole_ms=91.0, ratio=1.3, extra_mib=5.0
)


@pytest.fixture
def pair(tmp_path):
    return write_pair(tmp_path, Path('data'), methods=('pkd', 'mgd'))


@pytest.fixture
def trained(monkeypatch):
    """Trainings are written down, and leave a checkpoint and an evaluation."""
    done = []

    def train(config, cfg, output):
        done.append((Path(config).stem, cfg.randomness.seed))
        finish(cfg, ap=0.1 + 0.01 * len(done))

    monkeypatch.setattr(work, 'train', train)
    monkeypatch.setattr(work, 'make_data', lambda *_: None)
    return done


@pytest.fixture(autouse=True)
def profiled(monkeypatch):
    """Profiles are written down; a step of anything takes 91 ms."""
    done = []

    def run_tool(name, config, *words, output):
        done.append(Path(config).stem)
        assert words[:2] == ('--threads', torch.get_num_threads())
        content = json.dumps(PROFILE | dict(batch='2 images'))
        Path(words[-1]).write_text(content)

    monkeypatch.setattr(profiles, 'run_tool', run_tool)
    return done


def finish(cfg, ap=0.1):
    """What a training leaves, evaluated."""
    folder = Path(cfg.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = last_checkpoint(cfg)
    checkpoint.write_bytes(b'never read')
    keep(evaluation(measured(ap)), key_of(cfg, checkpoint, 'cpu'), folder)


def options(tmp_path, **others):
    usual = dict(report=False, out=tmp_path / 'out', configs=tmp_path / 'configs')
    return Options(NAME, **{**usual, **others})


def rows(text):
    lines = [line.strip('| ').split(' | ') for line in text.splitlines() if '|' in line]
    return {line[0]: line[1:] for line in lines[2:]}


def test_the_first_seed_of_all_methods_comes_first(pair, trained):
    train_all(jobs_of(pair, METHODS, seeds=2))
    names = ('retinanet_teacher', 'retinanet_student', 'mgd_retinanet', 'pkd_retinanet')
    assert trained == [(name, seed) for seed in (0, 1) for name in names]
    with pytest.raises(ConfigError, match='--seeds: got 0'):
        jobs_of(pair, METHODS, seeds=0)


def test_what_is_finished_or_known_is_not_trained(pair, trained):
    jobs = jobs_of(pair, METHODS, seeds=2)
    finish(jobs[0].cfg)
    known = [(NAME, 'mgd', 0), ('another pair', 'pkd', 0), (NAME, 'pkd', 1)]
    left = jobs_to_do(pair, jobs, known)
    assert [str(job) for job in left] == [
        'student alone, seed 0', 'pkd, seed 0',
        'teacher, seed 1', 'student alone, seed 1', 'mgd, seed 1',
    ]  # fmt: skip
    train_all(left)
    assert jobs_to_do(pair, jobs, known) == []


def test_a_teacher_that_was_trained_elsewhere_has_to_be_brought(pair):
    jobs = jobs_of(pair, METHODS, seeds=1)
    known = [(NAME, 'teacher', 0), (NAME, 'student alone', 0)]
    with pytest.raises(ConfigError, match='mgd, seed 0: the teacher of this seed'):
        jobs_to_do(pair, jobs, known)
    # It is none of this one's business where nothing is distilled.
    assert jobs_to_do(pair, jobs, [*known, (NAME, 'mgd', 0), (NAME, 'pkd', 0)]) == []
    finish(jobs[0].cfg)
    assert len(jobs_to_do(pair, jobs, known)) == 2


def test_a_failing_training_stops_the_others_or_not(pair, trained, monkeypatch):
    train, failing = work.train, {'retinanet_teacher'}

    def fail(config, cfg, output):
        if Path(config).stem in failing and cfg.randomness.seed == 0:
            raise ToolError('failed with status 1')
        train(config, cfg, output)

    monkeypatch.setattr(work, 'train', fail)
    jobs = jobs_of(pair, METHODS, seeds=2)
    with pytest.raises(ToolError):
        train_all(jobs)
    assert trained == []
    failed = train_all(jobs, keep_going=True)
    assert [text.partition(':')[0] for text in failed] == [
        'teacher, seed 0', 'mgd, seed 0', 'pkd, seed 0'
    ]  # fmt: skip
    assert 'has no teacher' in failed[1]
    assert len(trained) == 5


def test_failures_end_a_comparison_after_its_table(
    tmp_path, pair, trained, monkeypatch
):
    monkeypatch.setattr(comparing, 'train_all', lambda *_: ['pkd, seed 0: failed'])
    with pytest.raises(ToolError, match='1 of 4 failed: pkd, seed 0: failed'):
        compare(options(tmp_path, seeds=1, keep_going=True))
    assert 'not trained' in (tmp_path / 'out/comparison.md').read_text()


def test_a_finished_run_as_a_result(pair, trained):
    train_all(jobs_of(pair, METHODS, seeds=1))
    jobs = jobs_of(pair, METHODS, seeds=2)
    results = results_of(pair, jobs, profile=True)
    assert [r.key for r in results] == [(NAME, method, 0) for method in METHODS]
    pkd = results[-1]
    assert pkd.measures['AP'] == pytest.approx(0.14)  # at 500 detections
    assert 'AP_L' not in pkd.measures
    assert pkd.costs['parameters'] == 1_500_000
    assert pkd.costs['step_ms'] == 91.0
    assert pkd.origin['checkpoint'].endswith('runs/pkd_retinanet/epoch_1.pth')
    assert pkd.origin['data'] == 'VisDroneDataset data/val: 1 images, 0 boxes'
    assert results[1].costs['step_ms'] == 40.0  # the student in those profiles
    assert 'step_ms' not in results[0].costs
    assert 'ratio' not in results[1].costs


def test_a_step_is_profiled_once(pair, trained, profiled):
    train_all(jobs_of(pair, METHODS, seeds=2))
    jobs = jobs_of(pair, METHODS, seeds=2)
    assert 'step_ms' not in results_of(pair, jobs, profile=False)[-1].costs
    first = results_of(pair, jobs, profile=True)
    assert profiled == ['mgd_retinanet', 'pkd_retinanet']
    assert results_of(pair, jobs, profile=False) == first
    # What was measured on another machine, or is damaged, does not count.
    file = Path(jobs[-1].cfg.work_dir.replace('/seed_1', '')) / profiles.NAME
    for text in (json.dumps(json.loads(file.read_text()) | dict(machine='a')), '{'):
        file.write_text(text)
        assert 'step_ms' not in results_of(pair, jobs, profile=False)[-1].costs
        assert results_of(pair, jobs, profile=True) == first


def test_seeds_have_one_digest_and_other_configs_another(pair):
    first, second = (seeded(pair.methods['pkd'], seed) for seed in (0, 1))
    assert digest(first) == digest(second)
    second.train_dataloader.num_workers = 7
    assert digest(first) == digest(second)
    second.model.distiller.distill_losses.pkd.loss_weight = 7.0
    assert digest(first) != digest(second)
    third = Config(first.to_dict())
    third.train_dataloader.batch_size = 1
    assert digest(first) != digest(third)


def test_a_comparison_is_written_and_continued(tmp_path, pair, trained, capsys):
    readme = tmp_path / 'README.md'
    command = f'tools/compare.py --pair {NAME}'
    readme.write_text(f'<!-- {command}: begin --><!-- {command}: end -->\n')
    text = compare(options(tmp_path, seeds=2, update=readme))
    assert len(trained) == 8
    assert capsys.readouterr().out == f'{text}\n'
    out = tmp_path / 'out'
    assert (out / 'comparison.md').read_text().endswith(f'{text}\n')
    assert text in readme.read_text()
    assert rows(text)['pkd'][:2] == ['2', '16.00 ± 2.83']
    assert rows(text)['pkd'][-4:] == ['+2.00 ± 0.00', '91', '1.300', '+5']
    assert len(read_csv(out / 'comparison.csv')) == 8
    # Other methods come in, what there is stays.
    write_pair(tmp_path / 'more', Path('data'), methods=('new',))
    method = (tmp_path / 'more/configs/mini/new_retinanet.py').read_text()
    (tmp_path / 'configs/mini/new_retinanet.py').write_text(method)
    again = compare(options(tmp_path, seeds=2))
    assert trained[8:] == [('new_retinanet', 0), ('new_retinanet', 1)]
    assert rows(again)['pkd'] == rows(text)['pkd']


def test_only_the_table(tmp_path, pair, trained, profiled):
    text = compare(options(tmp_path, train=False))
    assert trained == profiled == []
    assert all(row[:2] == ['0', 'not trained'] for row in rows(text).values())
    assert list(rows(text)) == ['teacher', 'student alone', 'mgd', 'pkd']
    finish(seeded(pair.student, 1))
    finish(seeded(pair.methods['pkd'], 1))
    text = compare(options(tmp_path, train=False, methods=['pkd']))
    assert rows(text)['student alone'][:2] == ['1', '10.00']
    assert trained == profiled == []
    assert list(rows(text)) == ['teacher', 'student alone', 'pkd']


def test_earlier_results_are_joined_and_not_trained_again(tmp_path, pair, trained):
    compare(options(tmp_path, seeds=1))
    kept = tmp_path / 'earlier.csv'
    results = read_csv(tmp_path / 'out/comparison.csv')
    gone = replace(results[-1], method='gone', origin={})
    other = replace(results[-1], pair='other', seed=9)
    kept.write_text(write_csv([*results, gone, other]))
    for job in jobs_of(pair, METHODS, 1):
        last_checkpoint(job.cfg).unlink()
    # The table alone needs no teacher for what is not trained: no checkpoint is here.
    text = compare(options(tmp_path, seeds=2, train=False, from_csv=[kept]))
    assert rows(text)['pkd'][0] == '1'
    assert [seed for _, seed in trained] == [0] * 4
    text = compare(options(tmp_path, seeds=2, from_csv=[kept]))
    assert [seed for _, seed in trained] == [0] * 4 + [1] * 4
    assert rows(text)['pkd'][0] == '2'
    assert rows(text)['gone'][0] == '1 of 2'  # has no config any more
    finish(seeded(pair.methods['pkd'], 0), ap=0.2)
    with pytest.raises(ConfigError, match='two results of pkd, seed 0'):
        compare(options(tmp_path, seeds=2, from_csv=[kept]))


def note(cfg):
    begun = dict(work_dir=cfg.work_dir, _resume=False, _load_from=None)
    note_inputs(SimpleNamespace(cfg=cfg, **begun))


def test_students_of_a_teacher_that_was_trained_anew_are_named(pair, trained):
    jobs = jobs_of(pair, METHODS, seeds=1)
    for job in jobs:
        finish(job.cfg)
        note(job.cfg)
    assert jobs_to_do(pair, jobs) == []
    teacher = last_checkpoint(jobs[0].cfg)
    teacher.write_bytes(b'trained anew')
    with pytest.raises(ConfigError) as refused:
        jobs_to_do(pair, jobs)
    students = ' '.join(job.cfg.work_dir for job in jobs[2:])
    assert f'move it away, or remove it: rm -r {students}' in str(refused.value)
    # Where its work dir was removed it is going to be trained anew.
    teacher.unlink()
    with pytest.raises(ConfigError, match='by a teacher that is going to be trained'):
        jobs_to_do(pair, jobs)
    assert jobs_to_do(pair, jobs, [(NAME, 'teacher', 0)]) == []  # it is elsewhere
    assert not trained


def test_results_state_what_they_were_made_from(pair, trained):
    jobs = jobs_of(pair, METHODS, seeds=1)
    for job in jobs:
        finish(job.cfg)
        note(job.cfg)
    teacher, _, _, pkd = results_of(pair, jobs, profile=False)
    own = teacher.origin['checkpoint_sha256']
    assert own == sha256_of(last_checkpoint(jobs[0].cfg))
    assert pkd.origin['teacher_sha256'] == own


def test_a_step_is_profiled_again_with_another_teacher(pair, trained, profiled):
    train_all(jobs_of(pair, METHODS, seeds=1))
    jobs = jobs_of(pair, METHODS, seeds=1)
    results_of(pair, jobs, profile=True)
    config = Path(jobs[0].config)
    config.write_text(
        config.read_text().replace('base_channels=16', 'base_channels=12')
    )
    results_of(pair, jobs, profile=True)
    assert profiled == ['mgd_retinanet', 'pkd_retinanet'] * 2
    # One that notes no inputs is taken as it is.
    for method in ('mgd', 'pkd'):
        file = Path(seeded(pair.methods[method], 0).work_dir) / profiles.NAME
        kept = json.loads(file.read_text())
        del kept['inputs']
        file.write_text(json.dumps(kept))
    results_of(pair, jobs, profile=True)
    assert len(profiled) == 4
