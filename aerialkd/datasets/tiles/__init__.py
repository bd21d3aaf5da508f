"""Splitting large scenes into tiles, step by step."""
