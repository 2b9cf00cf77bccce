"""What a class path of a config names, and whether it is of the kind its place asks for: nothing is called here."""

import difflib
import inspect
import sys
from typing import Any, NamedTuple, get_args

from jsonargparse import _typehints as hints
from jsonargparse import set_parsing_settings
from jsonargparse._postponed_annotations import get_return_type
from jsonargparse._util import import_object
from torch import nn

# Nothing of Python's own library is an attack, a network or a loss, and much of it runs or removes something. Where a
# parameter has no type, a class path would be called whatever it is.
set_parsing_settings(import_path_denylist=sorted(sys.stdlib_module_names), instantiate_subclass_spec_in_any=False)

ROOMS = ("attacks", "callbacks", "datamodules", "lightning_modules")
"""Whose classes go by their names."""


class Place(NamedTuple):
    """What a value may be, by the type of its place."""

    bases: tuple[type, ...]
    """Classes that it may be an instance of."""
    callables: tuple[Any, ...]
    """Types `Callable[...]` of functions that may stand there."""
    lists: tuple[Any, ...]
    """Types of lists and dicts that may hold several."""
    free: bool
    """Whether any text may stand there, so that a path need not be one."""
    plain: bool
    """Whether a number or a truth may stand there."""

    @classmethod
    def of(cls, typehint: Any) -> "Place":
        members = get_args(typehint) if hints.get_typehint_origin(typehint) is hints.Union else (typehint,)
        origins = [(member, hints.get_typehint_origin(member)) for member in members]
        return cls(
            tuple(member for member, origin in origins if hints.is_single_subclass_type(member, origin)),
            tuple(member for member, origin in origins if origin in hints.callable_origin_types),
            tuple(member for member, origin in origins if origin in hints.sequence_or_mapping_origin_types),
            any(member is str or hints.accepts_any_value(member) for member in members),
            any(member in (bool, int, float) for member in members),
        )

    @property
    def returns(self) -> tuple[type, ...]:
        """Classes of what its functions return."""
        return tuple(kind for member in self.callables for kind in hints.get_subclass_types(get_args(member)[-1]) or ())


def find(path: str, place: Place) -> Any:
    """What a path names, by its short name where it is a class of the place's kind.

    Raises:
        ValueError: if there is no such thing, or it is not of the place's kind.
    """
    kinds = place.bases + place.returns
    if "." not in path:
        name, path = path, hints.resolve_class_path_by_name(kinds, path)  # type: ignore[arg-type]
        if "." not in path:
            raise ValueError(_unknown(name, place.bases or kinds))
    try:
        found = import_object(path)
    except hints.ImportDenied as error:
        raise ValueError(f"{path}: this is of Python's own library, which has nothing for a config") from error
    except ModuleNotFoundError as error:
        raise ValueError(f"{path}: no module {error.name}; its folder must be on PYTHONPATH") from error
    except AttributeError as error:
        module, name = path.rsplit(".", 1)
        close = difflib.get_close_matches(name, dir(sys.modules.get(module)), n=1)
        raise ValueError(
            f"{path}: {module} has no {name}" + (f"; did you mean {close[0]}?" if close else "")
        ) from error
    except (Exception, SystemExit) as error:  # of the module's own code, which an import runs
        raise ValueError(f"{path}: cannot be imported: {type(error).__name__}: {error}") from error
    if wrong := misfit(found, place):
        raise ValueError(f"{path} {wrong}")
    return found


def misfit(found: Any, place: Place) -> str | None:
    """What is wrong with something as a value of its place, if anything."""
    kinds = place.bases + place.returns
    if isinstance(found, place.bases):
        return None
    if inspect.isclass(found):
        if issubclass(found, kinds) or (place.callables and hints.callable_instances(found)):
            return None
        return f"is no subclass of {either(kinds)}"
    if not callable(found):
        return f"is {kind_of(found)}, not {either(kinds)}"
    returns = _returned(found)
    if returns is not None:
        if any(hints.is_subclass(kind, kinds) for kind in (returns, *get_args(returns))):
            return None
        return f"returns {getattr(returns, '__name__', returns)}, not {either(kinds)}"
    if place.callables:
        wrong = [_uncallable(found, member) for member in place.callables]
        return None if None in wrong else wrong[0]
    # A network is called at once and as anybody writes it; for all else a function says what it makes.
    if any(issubclass(base, nn.Module) for base in place.bases) and not inspect.isbuiltin(found):
        return None
    return f"does not say what it returns: annotate it with -> {either(kinds)}"


def _returned(function: Any) -> Any:
    """The type a function says it returns; None if it says none."""
    try:
        if inspect.signature(function).return_annotation is None:
            return type(None)
        returns = get_return_type(function)
    except (TypeError, ValueError):  # built in
        return None
    return (
        None if returns in (None, inspect.Signature.empty, Any) or isinstance(returns, str | hints.TypeVar) else returns
    )


def _uncallable(function: Any, typehint: Any) -> str | None:
    """What is wrong with calling a function as its place does, by position."""
    *given, _ = get_args(typehint)
    if given[:1] == [...] or not isinstance(given[0], list):
        return None
    try:
        signature = inspect.signature(function)
        signature.bind_partial(*given[0])
    except TypeError:
        return f"takes {signature}; here it is called with {len(given[0])} arguments"
    except ValueError:  # built in, and does not tell
        return None
    return None


def _unknown(name: str, kinds: tuple[type, ...]) -> str:
    """That there is no class of a short name, and which there are."""
    known = {path.rsplit(".", 1)[-1]: path for kind in kinds for path in hints.get_all_subclass_paths(kind)}
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f"no {either(kinds)} is called {name}; did you mean {close[0]}?"
    own = [short for short in known if any(hasattr(sys.modules.get(room), short) for room in ROOMS)]
    listed = ", ".join(sorted(own or known)[:12])
    elsewhere = next((f" ({name} is another kind)" for room in ROOMS if hasattr(sys.modules.get(room), name)), "")
    return f"no {either(kinds)} is called {name}{elsewhere}; there are {listed}; others go by their import path"


def either(kinds: tuple[type, ...]) -> str:
    return " or ".join(dict.fromkeys(kind.__name__ for kind in kinds))


def kind_of(value: Any) -> str:
    return "nothing (None)" if value is None else f"of type {type(value).__name__}"
