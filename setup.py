"""Build from the source tree alone: setuptools would pack modules that an earlier build left in build/lib."""

import shutil

from setuptools import setup

shutil.rmtree("build", ignore_errors=True)
setup()
