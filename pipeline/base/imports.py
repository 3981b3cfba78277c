"""Objects that a person names: `package.module:Name`, or `file.py:Name`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

from pipeline.base.errors import InputError, UnknownNameError
from pipeline.base.files import given_path

FILE_PREFIX = "variantlab_file_"
"""How the modules are called that are loaded from a file by its path: no other module is called so."""


def is_reference(text: str) -> bool:
    """Whether a text has the form of a reference.

    >>> is_reference("models.py:Wide"), is_reference("package.models:Wide"), is_reference("mlp_ws")
    (True, True, False)
    """
    return ":" in text or text.endswith(".py")  # which lacks its name, and is told so


class _Anew(SourceFileLoader):
    """Reads the file itself: what Python keeps of one that was changed within a second is that of before."""

    def get_code(self, fullname: str) -> CodeType:
        """What is in the file."""
        code: CodeType = self.source_to_code(self.get_data(self.path), self.path)
        return code


def load_object(reference: str, kind: str) -> tuple[ModuleType, object]:
    """The module that a reference names, and the object in it; the code of the module runs.

    `kind` says in messages what it should be. Raises InputError where the module cannot be found or imported, with the
    line of the person's own code where it went wrong, and UnknownNameError where the module has no such name.
    """
    place, _, name = reference.rpartition(":")
    if not place or not name:
        raise InputError(f"a {kind} is given as file.py:Name or package.module:Name, but got {reference!r}")
    module = _from_file(place, kind) if place.endswith(".py") else _from_package(place, kind)
    try:
        found: object = module
        for part in name.split("."):
            found = getattr(found, part)
    except AttributeError:
        raise UnknownNameError(f"name in {place}", name, public_names(module)) from None
    return module, found


def public_names(module: ModuleType) -> list[str]:
    """What a module defines itself."""
    own = {name: each for name, each in vars(module).items() if not name.startswith("_")}
    return [name for name, each in own.items() if getattr(each, "__module__", module.__name__) == module.__name__]


def _from_file(place: str, kind: str) -> ModuleType:
    path = given_path(place)
    if not path.is_file():
        raise InputError(f"a {kind} is read from a Python file, but there is no {path}")
    path = path.resolve()
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{place} must be readable, but {explain(error, [path.parent])}") from error
    name = FILE_PREFIX + hashlib.sha256(str(path).encode() + content).hexdigest()[:16]  # changed, it is another module
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path, loader=_Anew(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:  # for what the file imports from beside it, in worker processes as well
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's code raises
        del sys.modules[name]
        raise InputError(f"{place} must be importable, but {explain(error, [path.parent])}") from error
    return module


def _from_package(place: str, kind: str) -> ModuleType:
    folder = str(given_path("."))
    if folder not in sys.path:  # a console script has its own folder there instead of the present one
        sys.path.append(folder)
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(f"{error.name}.")):
            raise InputError(
                f"a {kind} is given as file.py:Name or package.module:Name, but there is no module {error.name}; "
                f"install it, or name a file"
            ) from None
        raise InputError(f"{place} must be importable, but {explain(error, [])}") from error
    except (Exception, SystemExit) as error:  # whatever a person's code raises
        raise InputError(f"{place} must be importable, but {explain(error, [])}") from error


def explain(error: BaseException, folders: list[Path]) -> str:
    """What was raised and where in a person's own code: in these folders, or else outside of installed packages.

    `line 3 of models.py (x = 1 / 0) raised ZeroDivisionError: division by zero`.
    """
    text = " ".join(f"{type(error).__name__}: {error}".split())
    if isinstance(error, SyntaxError) and error.filename:
        return f"line {error.lineno} of {Path(error.filename).name} is no Python: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_own(Path(frame.filename), folders)]
    if not frames:
        return f"it raised {text}"
    last = frames[-1]
    return f"line {last.lineno} of {Path(last.filename).name} ({last.line}) raised {text}"


def _is_own(path: Path, folders: list[Path]) -> bool:
    if folders:
        return any(folder in path.parents for folder in folders) and "site-packages" not in path.parts
    library = {Path(importlib.__file__).parent.parent, Path(__file__).parents[1]}
    return path.is_absolute() and "site-packages" not in path.parts and not library & set(path.parents)
