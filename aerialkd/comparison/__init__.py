"""Comparing distillation methods on one pair of teacher and student."""
