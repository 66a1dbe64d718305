"""Name -> factory, without importing torch: a model's file is imported only when that model is built."""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.models.families import FAMILIES, VECTORS
from bench.models.options import problem
from bench.models.spec import ModelSpec
from bench.models.windows import windows_of
from bench.support.errors import BenchError, nearest

if TYPE_CHECKING:
    from torch import nn

Factory = Callable[..., "nn.Module"]

_FACTORIES: dict[str, dict[str, Factory]] = {}  # module name -> family -> factory


def register_model(family: str) -> Callable[[Factory], Factory]:
    """Register ``factory(image_size: int, channels: int, **options) -> nn.Module`` as ``family``.

    The options are the factory's keyword parameters; their annotations are checked when a preset is built
    (`bench.models.options`). A class, or a ``functools.partial`` with defaults of its own, is a factory too.
    Raises BenchError when one file registers the same family twice.
    """

    def decorate(factory: Factory) -> Factory:
        function = factory.func if isinstance(factory, functools.partial) else factory
        known = _FACTORIES.setdefault(function.__module__, {})
        if family in known:
            where = inspect.getsourcefile(function) or function.__module__
            raise BenchError(
                f"{where} registers the model {family!r} twice; give one of the two another name."
            )
        known[family] = factory
        return factory

    return decorate


def module_of(spec: ModelSpec) -> str:
    """Return the dotted module, or the user's file, of a preset's factory. Never imports torch."""
    if spec.file is not None:
        return spec.file
    if spec.family not in FAMILIES:
        raise BenchError(
            f"Model {spec.name!r} names the unknown family {spec.family!r}{nearest(spec.family, FAMILIES)}; "
            f"known are {', '.join(FAMILIES)}."
        )
    return FAMILIES[spec.family]


def models_in_file(path: str | Path) -> dict[str, Factory]:
    """Load a user's Python file and return the factories it registers, by family.

    Raises BenchError when the file is absent, fails to load, needs a missing package, or registers nothing.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise BenchError(
            f"There is no model file {path}; give the path of a Python file with @register_model."
        )
    name = f"bench_user_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    _FACTORIES.pop(name, None)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise BenchError(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BenchError:
        raise
    except ModuleNotFoundError as error:
        raise BenchError(f"{path} needs the package {error.name!r}; install it first.") from error
    except Exception as error:
        raise BenchError(
            f"{path} cannot be loaded ({type(error).__name__}: {error}); fix the file."
        ) from error
    if not _FACTORIES.get(name):
        raise BenchError(f"{path} registers no model; decorate a factory with @register_model('name').")
    return _FACTORIES[name]


def factory_of(spec: ModelSpec) -> Factory:
    """Return the factory of a preset, importing only the file that holds it."""
    if spec.file is None:
        module = module_of(spec)
        importlib.import_module(module)
        return _FACTORIES[module][spec.family]
    found = models_in_file(spec.file)
    if spec.family not in found:
        raise BenchError(
            f"{spec.file} registers no model {spec.family!r}{nearest(spec.family, found)}; "
            f"it has {', '.join(sorted(found))}."
        )
    return found[spec.family]


def build(spec: ModelSpec, image_size: int, channels: int) -> nn.Module:
    """Build the network of a preset for square images (side in pixels, number of channels); vectors have a side of 1.

    Under ``torch.device("meta")`` nothing is allocated. Raises BenchError for an unknown family, an unknown,
    missing or ill-typed option, for values that do not go together, and for a user's factory that fails.
    """
    factory = factory_of(spec)
    check_options(spec, factory)
    image = f"{image_size}x{image_size}x{channels}"
    if image_size == 1 and spec.file is None and spec.family not in VECTORS:
        raise BenchError(
            f"Model {spec.name!r}: the family {spec.family!r} is for images, not for vectors; "
            f"vectors (one pixel of {channels} channels) are for {', '.join(VECTORS)}."
        )
    try:
        model = factory(image_size, channels, **spec.options)
    except ValueError as error:
        raise BenchError(f"Model {spec.name!r} ({image}): {error}") from error
    except ModuleNotFoundError as error:
        raise BenchError(
            f"Model {spec.name!r} needs the package {error.name!r}; install it first."
        ) from error
    except Exception as error:
        if spec.file is None or isinstance(error, BenchError):
            raise
        raise BenchError(
            f"{spec.file}: the factory of {spec.family!r} fails for {image} images "
            f"({type(error).__name__}: {error}); fix the file."
        ) from error
    if not callable(getattr(model, "forward", None)):
        raise BenchError(
            f"Model {spec.name!r}: its factory returns {type(model).__name__}, not a torch module."
        )
    return model


def check_schedule(spec: ModelSpec, model: nn.Module, schedule: str, timesteps: int) -> None:
    """Refuse a network that is built for another noise schedule than its training's; raises BenchError.

    Most networks take the timestep as a number; one that computes with the noise level carries
    ``noise_schedule``, its schedule's name and number of steps.
    """
    built_for = getattr(model, "noise_schedule", None)
    if built_for not in (None, (schedule, timesteps)):
        raise BenchError(
            f"Model {spec.name!r} is built for the {built_for[0]} schedule of {built_for[1]} steps, but the training "
            f"has the {schedule} one of {timesteps}; set its options schedule: {schedule}, timesteps: {timesteps}."
        )


def parameters_of(factory: Factory) -> dict[str, inspect.Parameter]:
    """Return the options of a family: the factory's parameters except image side and channels, their types resolved.

    A parameter ``**options`` is listed under its own name; what it collects is not known.
    """
    function = factory.func if isinstance(factory, functools.partial) else factory
    hints = typing.get_type_hints(
        function.__init__ if inspect.isclass(function) else function, include_extras=True
    )
    found = list(inspect.signature(factory).parameters.values())[2:]
    return {p.name: p.replace(annotation=hints.get(p.name, Any)) for p in found}


def check_options(spec: ModelSpec, factory: Factory) -> None:
    """Compare the options of a preset with the signature of its factory; raises BenchError."""
    parameters = parameters_of(factory)
    known = {n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
    who = f"Model {spec.name!r}"
    for key, value in spec.options.items():
        if key not in known:
            if len(known) < len(parameters):
                continue
            raise BenchError(
                f"{who} has the unknown option {key!r}{nearest(key, known)}; "
                f"the family {spec.family!r} takes {', '.join(known) or 'none'}."
            )
        if wanted := problem(value, known[key].annotation):
            raise BenchError(f"{who}: the option {key!r} must be {wanted}, not {value!r}.")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in spec.options:
            raise BenchError(f"{who} lacks the option {name!r} of the family {spec.family!r}.")


def resolved(spec: ModelSpec, image_size: int) -> tuple[Factory, dict[str, Any]]:
    """Return the factory of a preset and all its options, defaults filled in and windows written as one per layer."""
    factory = factory_of(spec)
    options = {name: p.default for name, p in parameters_of(factory).items()} | spec.options
    if "windows" in options:
        options["windows"] = windows_of(spec.family, options, image_size)
    return factory, options


def same_network(one: ModelSpec, other: ModelSpec, image_size: int) -> bool:
    """Return whether two presets are one network for images of this side, however they are written."""
    first, second = resolved(one, image_size), resolved(other, image_size)
    return one.file == other.file and _plain(first) == _plain(second)


def _plain(value: tuple[Factory, dict[str, Any]]) -> tuple[Any, dict[str, Any]]:
    """Return factory and options in a form that compares by content: a list equals a tuple of the same values."""
    factory, options = value
    lists = {key: list(v) if isinstance(v, tuple) else v for key, v in options.items()}
    return factory.func if isinstance(factory, functools.partial) else factory, lists
