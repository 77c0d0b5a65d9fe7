# SPDX-License-Identifier: MIT
"""Tests that cannot be held to their word while coverage is measured, and are skipped then."""

from __future__ import annotations

import os

import pytest


def not_measured(reason: str) -> pytest.MarkDecorator:
    """The mark of a test that would see the measuring itself; ``reason`` says where."""
    return pytest.mark.skipif("COVERAGE_RUN" in os.environ, reason=reason)  # which `coverage run` sets
