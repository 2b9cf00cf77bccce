"""What a class path of a config may name, looked at before any of it is called.

jsonargparse imports what a path names and calls it. Here every value meets the type of its place first: a class must be
of the place's type, a function one that the place takes. What a user has written without annotations is taken as it is.
"""

import inspect
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, get_args

from jsonargparse import Namespace
from jsonargparse import _typehints as hints
from jsonargparse._util import NestedArg, get_import_path

from command_line.class_kinds import Place, either, find, kind_of, misfit

_adapt = hints.adapt_typehints


def adapt(val: Any, typehint: Any, **options: Any) -> Any:
    """Stands before jsonargparse's function of this kind, which every value of a config passes, nested ones too."""
    if isinstance(val, dict) and get_args(typehint)[:1] == (str,):
        val = {str(key): value for key, value in val.items()}  # YAML makes numbers of some names
    if isinstance(val, str | dict | Namespace | NestedArg):
        if hints.accepts_any_value(typehint):
            if isinstance(val, dict | Namespace) and hints.is_subclass_spec(val) and not options.get("serialize"):
                raise ValueError(
                    f"class_path {val['class_path']}: there is no telling what belongs here; give the parameter a type"
                )
            return _adapt(val, typehint, **options)
        place = Place.of(typehint)
        if isinstance(val, NestedArg) and place.lists and (items := _by_name(val, place, options)) is not None:
            return items
        if place.bases or place.callables:
            if val == {} and options.get("prev_val") is None:
                raise ValueError("{} names no class: give its class_path, or leave it out")
            return _adapt_class(val, typehint, place, options)
    return _adapt(val, typehint, **options)


def _adapt_class(val: Any, typehint: Any, place: Place, options: dict[str, Any]) -> Any:
    path = _path_of(val, options)
    if path is None or (place.free and isinstance(val, str)) or (options.get("enable_path") and _is_file(val)):
        return _adapt(val, typehint, **options)
    if typehint not in (*place.bases, *place.callables):  # a union
        if options.get("append"):
            return _adapt(val, typehint, **options)
        try:
            found = find(path, place)
        except ValueError as error:
            try:
                return _adapt(val, typehint, **options)  # `null` or `false`, perhaps
            except ValueError:
                if place.plain:
                    raise
                raise error from None
        fits = (kind for kind in (*place.bases, *place.callables) if misfit(found, Place.of(kind)) is None)
        return adapt(val, next(fits), **options)
    if options.get("serialize") and isinstance(val, str):
        return val
    found = find(path, place)
    if inspect.isclass(found):
        if place.callables and not issubclass(found, place.returns or ()):
            typehint = Callable  # its instances are called, and say nowhere what they return
        return _adapt(val, typehint, **options)
    if place.bases and isinstance(found, place.bases):
        return _adapt(val, typehint, **options)
    return _adapt_function(val, found, typehint, place, options)


def _adapt_function(val: Any, found: Any, typehint: Any, place: Place, options: dict[str, Any]) -> Any:
    """A function: called to make what a class would be; bound to its arguments where a function is wanted."""
    path = get_import_path(found)
    previous = options.get("prev_val")
    spec = hints.subclass_spec_as_namespace(val, Namespace(class_path=path) if callable(previous) else previous)
    spec["class_path"] = path
    if place.callables and not spec.get("init_args") and not spec.get("dict_kwargs"):
        return found
    if not inspect.isroutine(found):
        raise ValueError(f"{path} is an object, not a function: it takes no arguments")
    skip = _given(found, place.callables[0]) if place.callables else None
    sub_add_kwargs = options.get("sub_add_kwargs") or {}
    if not options.get("serialize") and not options.get("instantiate_classes"):
        _sort_arguments(spec, found, sub_add_kwargs, skip)
    making = options.get("instantiate_classes", False)
    arguments = (spec, options.get("serialize", False), making, sub_add_kwargs)
    try:
        made = hints.adapt_class_type(
            *arguments, prev_val=previous if hints.is_subclass_spec(previous) else None, partial_skip_args=skip
        )
    except hints.ArgumentError as error:
        raise ValueError(str(error)) from error
    except Exception as error:
        if not making or isinstance(error, ValueError | TypeError):
            raise
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    if not making:
        return made
    if place.callables:
        return partial(found, **made.keywords)
    if not isinstance(made, place.bases):
        raise ValueError(f"{path} returned {kind_of(made)}, not {either(place.bases)}")
    return made


def _given(function: Any, typehint: Any) -> set[str]:
    """Parameters that the place gives when it calls the function: these are none of a config's."""
    given = get_args(typehint)[0]
    parameters = inspect.signature(function).parameters.values()
    if isinstance(given, list):
        return {parameter.name for parameter in list(parameters)[: len(given)]}
    return {parameter.name for parameter in parameters if parameter.default is parameter.empty}


def _sort_arguments(spec: Namespace, function: Any, sub_add_kwargs: dict[str, Any], skip: set[str] | None) -> None:
    """Of a function with `**kwargs`, arguments that it does not name go where jsonargparse leaves them alone."""
    parameters = inspect.signature(function).parameters.values()
    given = spec.get("init_args")
    if not given or all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        return
    parser = hints.ActionTypeHint.get_class_parser(function, sub_add_kwargs, skip)
    if isinstance(given, NestedArg):
        if hints.find_parent_action(parser, given.key) is None:
            del spec["init_args"]
            spec["dict_kwargs"] = {given.key: given.val}
        return
    named = given if isinstance(given, dict) else vars(given)
    extra = {key: named.pop(key) for key in list(named) if hints.find_parent_action(parser, key) is None}
    if extra:
        spec["dict_kwargs"] = {**(spec.get("dict_kwargs") or {}), **extra}


def _path_of(val: Any, options: dict[str, Any]) -> str | None:
    """The class path that a value gives, or that an argument of its class goes with."""
    if isinstance(val, str):
        return val
    if isinstance(val, NestedArg):
        previous = options.get("prev_val")
        if val.key == "class_path":
            return val.val
        if callable(previous) and not isinstance(previous, Namespace):
            return get_import_path(previous)
        return _path_of(previous, options) if isinstance(previous, dict | Namespace) else None
    path = val.get("class_path") if hints.is_subclass_spec(val) else None
    return path if isinstance(path, str) else None


def _is_file(val: Any) -> bool:
    return isinstance(val, str) and Path(val).is_file()


def _by_name(val: NestedArg, place: Place, options: dict[str, Any]) -> list[Any] | None:
    """An argument for one of a list's items, by the name of its class, `--trainer.callbacks.Inpainting.size 30`, or by
    its place from 0, `--model.network.networks.0.weights FILE`."""
    items = options.get("prev_val")
    name, _, key = val.key.partition(".")
    if not isinstance(items, list) or not (name[:1].isupper() or name.isdecimal()):
        return None
    names = [str(item.get("class_path", "")).rsplit(".", 1)[-1] for item in items if isinstance(item, dict | Namespace)]
    if name.isdecimal():
        if int(name) >= len(items):
            raise ValueError(f"no item {name} here; there are {len(items)}, from 0")
    elif names.count(name) != 1:
        there = f"there are {', '.join(names)}" if names else "the list is empty"
        raise ValueError(f"{'more than one' if name in names else 'no'} {name} here; {there}")
    if not key:
        raise ValueError(f"{name}: give one of its arguments, as in {name}.samples")
    number = int(name) if name.isdecimal() else names.index(name)
    inner = NestedArg(key.removeprefix("init_args."), val.val)
    item = adapt(inner, get_args(place.lists[0])[-1], **{**options, "prev_val": items[number], "append": False})
    return [*items[:number], item, *items[number + 1 :]]


hints.adapt_typehints = adapt  # type: ignore[assignment]
