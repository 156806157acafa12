"""A package that adds a provider, as a third party would."""

from setuptools import setup

setup(
    name="sparknomad-example-provider",
    version="1.0",
    py_modules=["example_provider"],
    entry_points={"sparknomad.providers": ["example = example_provider:ExampleProvider"]},
)
