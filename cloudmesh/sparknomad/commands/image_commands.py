"""Commands about images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cloudmesh.sparknomad.commands.shared import (
    Arguments,
    make_manager,
    make_output,
    show_plan,
    tell,
)
from cloudmesh.sparknomad.output import Output, when
from cloudmesh.sparknomad.specfile import build_spec, read_spec, spec_to_dict
from cloudmesh.sparknomad.specs import ImageSpec

__all__ = ["VERBS"]


def _image_spec(arguments: Arguments) -> ImageSpec:
    path = arguments["--spec"]
    given = read_spec(ImageSpec, Path(path)) if path else None
    data: dict[str, Any] = spec_to_dict(given) if given else {}
    options = {
        "image": arguments["NAME"],
        "spark": arguments["--spark"],
        "base": arguments["--base"],
        "variant": arguments["--variant"],
    }
    data.update({name: value for name, value in options.items() if value is not None})
    if arguments["--requirements"]:
        from cloudmesh.sparknomad.image.requirements import read_requirements

        data["requirements"] = read_requirements(Path(arguments["--requirements"]))
    return build_spec(ImageSpec, data, origin=path or "the command line")


def _image_build(arguments: Arguments) -> int:
    output, spec = make_output(arguments), _image_spec(arguments)
    manager = make_manager(arguments)
    if arguments["--dry-run"]:
        return show_plan(output, manager.image_plan(spec))
    return _show_image(output, manager.image_build(spec))


def _show_image(output: Output, image: Any) -> int:
    shown = {
        "image": image.name,
        "id": image.image_id,
        "spark": image.spark,
        "size": format_size_short(image.size),
        "docker": image.tag if image.docker else "not loaded",
        "built": when(image.created),
        **image.versions,
    }
    output.record(image, shown)
    return 0


def format_size_short(size: int) -> str:
    """A size for a person, in whole MB of a million bytes."""
    return f"{size / 1e6:,.0f} MB"


def _image_list(arguments: Arguments) -> int:
    columns = {
        "IMAGE": lambda image: image.name,
        "ID": lambda image: image.image_id[:12],
        "SPARK": lambda image: image.spark,
        "SIZE": lambda image: format_size_short(image.size),
        "DOCKER": lambda image: image.tag if image.docker else "-",
        "BUILT": lambda image: when(image.created),
    }
    empty = "no images; `cms sparknomad image build` builds one"
    make_output(arguments).rows(make_manager(arguments).image_list(), columns, empty=empty)
    return 0


def _image_inspect(arguments: Arguments) -> int:
    return _show_image(
        make_output(arguments), make_manager(arguments).image_inspect(arguments["IMAGE"])
    )


def _image_check(arguments: Arguments) -> int:
    output = make_output(arguments)
    versions = make_manager(arguments).image_check(arguments["IMAGE"])
    output.record(versions, versions)
    return 0


def _image_save(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    saved = manager.image_save(arguments["IMAGE"], Path(arguments["PATH"]))
    output = make_output(arguments)
    if output.is_table:
        manager.say(f"saved to {saved}; `docker load` reads it")
    else:
        output.data({"image": arguments["IMAGE"], "path": str(saved)})
    return 0


def _image_remove(arguments: Arguments) -> int:
    manager = make_manager(arguments)
    manager.image_remove(arguments["IMAGE"])
    tell(arguments, manager, f"image {arguments['IMAGE']!r} is removed", "image", "IMAGE")
    return 0


VERBS: dict[str, Callable[[Arguments], int]] = {
    "build": _image_build,
    "list": _image_list,
    "inspect": _image_inspect,
    "check": _image_check,
    "save": _image_save,
    "remove": _image_remove,
}
