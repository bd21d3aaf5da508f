"""The comparison in the HTML report."""

import re
from pathlib import Path

import pytest

from aerialkd.comparison.section import method_section
from aerialkd.comparison.table import by_method, method_table
from aerialkd.visualization.report import write_report
from tests.builders import retinanet
from tests.comparison.made_results import three_seeds
from tests.trained import visdrone_config


@pytest.fixture
def work_dir(tmp_path):
    """A config that nobody has trained: a page without anything else."""
    folder = tmp_path / 'student'
    folder.mkdir()
    visdrone_config(retinanet(10), Path('data')).dump(folder / 'config.py')
    return folder


def page_of(work_dir, results):
    rows = by_method(results, ('teacher', 'student alone', 'pkd <b>'))
    section = method_section('a pair', rows, method_table(rows))
    out = work_dir.parent / 'report.html'
    return write_report([work_dir], out, methods=section).read_text()


def test_table_and_a_dot_for_each_seed(work_dir):
    results = [
        *three_seeds('student alone', 10.0, 11.0),
        *three_seeds('pkd <b>', 12.0, 14.0, 16.0),
    ]
    page = page_of(work_dir, results)
    section = page.partition('<section id="methods">')[2].partition('</section>')[0]
    assert '14.00 ± 2.00' in section
    assert 'not trained' in section
    assert '<a href="#methods">' in page
    table, _, chart = section.partition('<svg')
    assert 'pkd &lt;b&gt;' in table
    assert '<b>' not in section
    assert 'sample standard deviation' in table
    names = re.findall(r'<text[^>]*>([^<]*)</text>', chart)
    assert {'student alone', 'pkd &lt;b&gt;', 'AP, percent'} <= set(names)
    assert 'teacher' not in names  # has no dots
    # A marker a seed, all but the ticks' own.
    dots = re.findall(r'<g clip-path.*?</g>', chart, re.DOTALL)
    assert sum(g.count('<use') for g in dots) == 5


def test_without_results_there_is_no_chart(work_dir):
    page = page_of(work_dir, [])
    section = page.partition('<section id="methods">')[2].partition('</section>')[0]
    assert 'not trained' in section
    assert '<svg' not in section


def test_other_reports_have_no_such_section(work_dir):
    page = write_report([work_dir], work_dir.parent / 'report.html').read_text()
    assert '#methods' not in page
    assert 'id="methods"' not in page
