"""A package that adds a kind of compute, as a third party would."""

from setuptools import setup

setup(
    name="sparknomad-example-compute",
    version="1.0",
    py_modules=["example_compute"],
    entry_points={"sparknomad.computes": ["lab = example_compute:LabCompute"]},
)
