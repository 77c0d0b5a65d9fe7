# SPDX-License-Identifier: MIT
"""Compiles echo.pyx beside it: python setup.py build_ext --inplace"""

from setuptools import Extension, setup

setup(name="native-echo", version="1.0", py_modules=[], ext_modules=[Extension("echo", ["echo.pyx"])])
