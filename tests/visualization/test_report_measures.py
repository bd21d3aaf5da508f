"""The table, the sentence at the top, and who is who."""

from pathlib import Path

import pytest
from mmengine.config import Config

from aerialkd.errors import ConfigError
from aerialkd.visualization.report.comparison import compare
from aerialkd.visualization.report.logs import TrainingLog
from aerialkd.visualization.report.measures import (
    common_measures,
    main_measure,
    sentence,
    table_of,
)
from aerialkd.visualization.report.runs import Run
from tests.builders import distill, retinanet


def run(name, model, ap=None, seed=0, data='val', teacher=None, **metrics):
    cfg = Config(
        dict(
            model=model,
            work_dir=f'w/{name}',
            randomness=dict(seed=seed),
            test_dataloader=dict(dataset=dict(type='Data', data_root=data)),
        )
    )
    if teacher:
        cfg.model.teacher_ckpt = teacher
    if ap is not None:
        metrics = {'visdrone/AP_at_500': ap, 'visdrone/AP50_at_500': 2 * ap, **metrics}
    log = TrainingLog(validations=[(3, metrics)] if metrics else [])
    folder = Path('w', name).resolve()
    return Run(name, folder, cfg, folder / 'a.py', log, None, remark='it is a test')


def three(teacher=0.3, alone=0.2, distilled=0.25):
    return [
        run('pkd', distill(), distilled),
        run('small', retinanet(), alone),
        run('large', retinanet(width=16), teacher),
    ]


def test_the_largest_number_of_detections_counts():
    metrics = {
        'visdrone/AP_at_100': 0.1,
        'visdrone/AP_at_500': 0.2,
        'visdrone/AP_S_at_500': -1.0,
        'visdrone/AR_at_500': 0.4,
        'visdrone/car/AP_at_500': 0.9,
    }
    measures = common_measures(metrics)
    assert measures.values == {'AP': 0.2, 'AR': 0.4}
    assert '500 best' in measures.note
    assert common_measures(metrics, max_dets=100).values == {'AP': 0.1}
    with pytest.raises(ConfigError, match=r'got 7, expected .*: 100, 500\.'):
        common_measures(metrics, max_dets=7)


@pytest.mark.parametrize(
    ('metrics', 'expected'),
    [
        (
            {'coco/bbox_mAP': 0.3, 'coco/bbox_mAP_50': 0.5, 'coco/bbox_mAP_s': 0.1},
            {'AP': 0.3, 'AP50': 0.5, 'AP_S': 0.1},
        ),
        ({'dota/mAP': 0.4, 'dota/AP50': 0.41}, {'mAP': 0.4, 'AP50': 0.41}),
        ({'own/quality': 0.7}, {'quality': 0.7}),
        ({}, {}),
    ],
)
def test_measures_of_other_evaluators(metrics, expected):
    assert common_measures(metrics).values == expected


def test_measures_of_rotated_boxes():
    metrics = {
        'rotated/mAP50': 0.5,
        'rotated/AP75': 0.3,
        'rotated/mAP': 0.2,
        'rotated/mAP50_11': 0.6,
        'rotated/AP75_11': 0.4,
        'rotated/mAP_11': 0.3,
        'rotated/ship/AP50': 0.9,
        'rotated/ship/AP75': 0.8,
    }
    measures = common_measures(metrics)
    assert list(measures.values.items()) == [
        ('mAP50', 0.5),
        ('AP75', 0.3),
        ('mAP', 0.2),
    ]
    assert 'mAP over .50:.95' in measures.note
    assert 'scenes' not in measures.note
    scenes = {k.replace('/', '/scenes/', 1): v / 2 for k, v in metrics.items()}
    measures = common_measures({**scenes, **metrics})
    assert list(measures.values)[:3] == ['mAP50', 'AP75', 'mAP']
    assert measures.values['mAP'] == 0.2
    assert measures.values['mAP50 (scenes)'] == 0.25
    assert measures.values['AP75 (scenes)'] == 0.15
    assert len(measures.values) == 6
    assert '(scenes): tiles merged' in measures.note
    (comparison,) = compare([run('small', retinanet(), **metrics)])
    assert main_measure(comparison) == 'mAP'


def test_roles_come_from_the_models():
    (comparison,) = compare(three())
    assert [(row.role, row.label) for row in comparison.rows] == [
        ('teacher', 'large'),
        ('student alone', 'small'),
        ('distilled', 'pkd'),
    ]
    assert len({row.color for row in comparison.rows}) == 3


def test_a_teacher_like_its_student_is_known_by_its_checkpoint():
    model = distill(teacher=retinanet())
    runs = [
        run('self', model, 0.2, teacher='w/first/epoch_1.pth'),
        run('first', retinanet(), 0.2),
        run('second', retinanet(), 0.2),
    ]
    compare(runs)
    assert [r.role for r in runs] == ['distilled', 'teacher', 'student alone']


def test_the_teachers_network_alone_is_no_teacher_beside_the_teacher():
    """Of a pair that differs in scale alone, with another student distilled."""
    other = retinanet(width=12)
    model = distill(architecture=other, teacher=retinanet())
    runs = [
        run('taught', model, 0.2, teacher='w/zoomed/epoch_1.pth'),
        run('zoomed', retinanet(), 0.3),
        run('plain', retinanet(), 0.1),
    ]
    compare(runs)
    assert [r.role for r in runs] == ['distilled', 'teacher', 'detector']


def test_the_baseline_can_be_named():
    runs = [*three(), run('other', retinanet(width=4), 0.1)]
    (comparison,) = compare(runs, 'other')
    assert comparison.baseline.label == 'other'
    assert runs[1].role == 'detector'
    with pytest.raises(ConfigError, match="'nobody', expected one of pkd, small"):
        compare(three(), 'nobody')


def test_the_sentence_is_computed():
    (comparison,) = compare(three())
    assert sentence(comparison).startswith(
        'PKD: AP 25.00, 5.00 above the student alone, 5.00 below its teacher '
        '(Data val). One run of each'
    )
    (comparison,) = compare(three(teacher=0.1, alone=0.5))
    assert '25.00 below the student alone, 15.00 above its teacher' in sentence(
        comparison
    )


def test_of_many_students_the_best_are_named():
    runs = three()
    for index, ap in enumerate((0.21, 0.26, 0.22)):
        runs.append(run(f'method{index}', distill(), ap))
        runs[-1].cfg.max_epochs = index + 7
    (comparison,) = compare(runs)
    assert sentence(comparison) == (
        'Best of 4 distilled students: PKD (method1): AP 26.00, 6.00 above the student '
        'alone, 4.00 below its teacher; PKD (pkd): AP 25.00, 5.00 above the student '
        'alone, 5.00 below its teacher; PKD (method2): AP 22.00, 2.00 above the '
        'student alone, 8.00 below its teacher (Data val). One run of each: how much '
        'other seeds differ is not known.'
    )
    runs.append(run('pkd again', distill(), 0.25, seed=1))
    (comparison,) = compare(runs)
    assert 'One run of 5 of 6: how much other seeds' in sentence(comparison)


def test_sentences_of_less():
    (comparison,) = compare([run('small', retinanet(), 0.2)])
    assert sentence(comparison) == 'AP in percent: small 20.00 (Data val).'
    (comparison,) = compare([run('small', retinanet())])
    assert sentence(comparison) == 'Not evaluated: small.'
    assert main_measure(comparison) == ''


def test_differences_are_those_to_the_student_alone():
    (comparison,) = compare(three())
    table = table_of(comparison)
    assert table.columns == ['AP', 'AP50']
    cells = {row.role: [(c.text, c.difference, c.gain) for c in cells]
             for row, cells in table.rows}  # fmt: skip
    assert cells['teacher'][0] == ('30.00', '+10.00', True)
    assert cells['student alone'][1] == ('40.00', '', False)
    assert cells['distilled'] == [('25.00', '+5.00', True), ('50.00', '+10.00', True)]
    assert any('(small)' in note for note in table.notes)
    assert any('after epoch 3, as it is a test' in note for note in table.notes)


def test_each_student_is_compared_with_itself_alone():
    """Two architectures: the teacher's gain is that of each."""
    other = retinanet(width=12)
    runs = [
        *three(),
        run('other', other, 0.35),
        run('taught', distill(architecture=other), 0.33),
    ]
    (comparison,) = compare(runs)
    found = sentence(comparison)
    assert '5.00 above the student alone (small)' in found
    assert '2.00 below the student alone (other)' in found
    rows = {row.label: cells[0] for row, cells in table_of(comparison).rows}
    assert rows['taught'].difference == '\N{MINUS SIGN}2.00'
    assert rows['other'].difference == '+15.00'  # another student: to the baseline
    assert rows['large'].difference == '+10.00'
    assert any('of the same model' in note for note in table_of(comparison).notes)


def test_a_loss_is_written_with_a_minus():
    (comparison,) = compare(three(distilled=0.1))
    cell = table_of(comparison).rows[-1][1][0]
    assert (cell.difference, cell.gain) == ('\N{MINUS SIGN}10.00', False)


def test_seeds_share_a_row():
    seeds = [run(f'small{s}', retinanet(), ap, s) for s, ap in enumerate((0.2, 0.3))]
    (comparison,) = compare([*seeds, run('pkd', distill(), 0.25)])
    row, cells = table_of(comparison).rows[0]
    assert row.label == 'small0, 2 runs'
    assert cells[0].text == '25.00 ± 7.07'  # sample standard deviation
    assert '0.00 above the student alone' in sentence(comparison)
    assert 'One run of pkd: how much' in sentence(comparison)
    assert any('sample standard deviation' in n for n in table_of(comparison).notes)


def test_seeds_with_teachers_of_their_own_share_a_row():
    runs = [
        run(f'{s}/pkd', distill(), 0.2, s, teacher=f'w/{s}/big/epoch_1.pth')
        for s in range(3)
    ]
    (comparison,) = compare(runs)
    assert [row.label for row in comparison.rows] == ['pkd, 3 runs']
    assert 'PKD: AP 20.00 (mean of 3 runs)' in sentence(comparison)
    assert 'One run' not in sentence(comparison)


def test_other_configs_do_not_share_a_row():
    one, other = run('a', retinanet(), 0.2), run('b', retinanet(), 0.3)
    other.cfg.max_epochs = 24
    (comparison,) = compare([one, other])
    assert [row.label for row in comparison.rows] == ['a', 'b']


def test_other_data_is_not_compared():
    runs = [*three(), run('elsewhere', retinanet(), 0.9, data='test')]
    first, second = compare(runs)
    assert [row.label for row in second.rows] == ['elsewhere']
    assert len(first.rows) == 3
    assert all(not c.difference for _, cells in table_of(second).rows for c in cells)


def test_runs_without_measures_say_so():
    runs = three()
    runs[2].log.validations.clear()
    table = table_of(compare(runs)[0])
    assert [cell.text for cell in table.rows[0][1]] == ['not evaluated'] * 2
    assert 'large is not evaluated: it is a test.' in table.notes


def test_a_method_is_named_by_the_losses_that_it_keeps():
    losses = dict(
        cls=dict(type='aerialkd.SoftClassLoss'),
        reg=dict(type='aerialkd.SoftRegressionLoss'),
    )
    both = run('a', dict(distiller=dict(distill_losses=losses)))
    assert both.method == 'SoftClass + SoftRegression'
    one = run('b', dict(distiller=dict(distill_losses=losses, only=['reg'])))
    assert one.method == 'SoftRegression'
