"""Providers by name."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cloudmesh.sparknomad import plugins
from cloudmesh.sparknomad.cluster import registry
from cloudmesh.sparknomad.cluster.local.provider import LocalProvider
from cloudmesh.sparknomad.cluster.provider import ClusterProvider, ProviderContext
from cloudmesh.sparknomad.errors import DependencyError, SpecError


@pytest.fixture
def context(tmp_path: Path) -> ProviderContext:
    return ProviderContext(tmp_path / "clusters", tmp_path / "cache", lambda message: None)


def add(monkeypatch: pytest.MonkeyPatch, **providers: str) -> None:
    group = registry.ENTRY_POINTS

    def entry_points(**asked: str) -> list[EntryPoint]:
        assert asked == {"group": group}
        return [EntryPoint(name, value, group) for name, value in providers.items()]

    monkeypatch.setattr(plugins, "entry_points", entry_points)


def module(monkeypatch: pytest.MonkeyPatch, **content: object) -> None:
    made = types.ModuleType("rackspark")
    vars(made).update(content)
    monkeypatch.setitem(sys.modules, "rackspark", made)


def test_the_built_in_providers_are_known() -> None:
    assert {"local", "memory", "nomad"} <= set(registry.provider_names())


def test_a_provider_is_made_by_its_name(context: ProviderContext) -> None:
    made = registry.make_provider("local", context)
    assert isinstance(made, LocalProvider)
    assert made.context is context


@pytest.mark.parametrize(("name", "near"), [("nomd", "nomad"), ("locl", "local")])
def test_a_near_name_is_proposed(context: ProviderContext, name: str, near: str) -> None:
    with pytest.raises(SpecError, match=f"'{name}': unknown provider; did you mean '{near}'"):
        registry.make_provider(name, context)


def test_all_names_are_told_where_none_is_near(context: ProviderContext) -> None:
    with pytest.raises(SpecError, match=r"known: local, memory, nomad") as caught:
        registry.make_provider("zzz", context)
    assert "sparknomad.providers" in caught.value.hint


def test_a_package_adds_a_provider(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rack(LocalProvider):
        name = "rack"

    module(monkeypatch, Rack=Rack)
    add(monkeypatch, rack="rackspark:Rack")
    assert "rack" in registry.provider_names()
    assert isinstance(registry.make_provider("rack", context), Rack)


def test_a_package_can_not_replace_a_built_in_provider(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, local="rackspark:Evil")
    assert type(registry.make_provider("local", context)) is LocalProvider


def test_a_provider_that_can_not_be_imported_hints_at_its_package(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(monkeypatch, rack="rackspark_not_installed.provider:Rack")
    assert "rack" in registry.provider_names()
    with pytest.raises(DependencyError, match=r"'rack'.*can't be imported") as caught:
        registry.make_provider("rack", context)
    assert caught.value.hint.endswith("pip install rackspark_not_installed")


def test_what_is_no_provider_is_refused(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    module(monkeypatch, Thing=object, thing=5)
    for name in ("Thing", "thing"):
        add(monkeypatch, rack=f"rackspark:{name}")
        with pytest.raises(DependencyError, match="is no ClusterProvider"):
            registry.make_provider("rack", context)


@pytest.mark.parametrize("value", ["rackspark:Missing", "rackspark", "not a value!"])
def test_a_broken_entry_point_is_a_dependency_error(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    module(monkeypatch)
    add(monkeypatch, rack=value)
    with pytest.raises(DependencyError):
        registry.make_provider("rack", context)


def test_listing_names_imports_no_provider() -> None:
    script = (
        "import sys; from cloudmesh.sparknomad.cluster.registry import provider_names; "
        "provider_names(); print([m for m in sys.modules if m.endswith('.local.provider')])"
    )
    command = [sys.executable, "-c", script]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


def test_a_provider_that_is_not_finished_is_refused(
    context: ProviderContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Half(ClusterProvider):
        name = "half"

    module(monkeypatch, Half=Half)
    add(monkeypatch, rack="rackspark:Half")
    with pytest.raises(DependencyError, match="lacks _cancel, "):
        registry.make_provider("rack", context)
