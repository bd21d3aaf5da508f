"""The report: one HTML file that compares finished (or unfinished) trainings."""

from aerialkd.visualization.report.page import write_report

__all__ = ['write_report']
