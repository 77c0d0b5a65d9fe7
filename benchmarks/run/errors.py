"""What is raised where a measurement gives no figures."""

from __future__ import annotations


class MeasurementError(Exception):
    """There are no figures; the text says why."""
