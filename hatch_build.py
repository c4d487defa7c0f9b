"""The build hook: compiles the package's C code with the system's C compiler, where there is one."""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = Path("benchmark", "sparsebench")
PURE = "SPARSEBENCH_PURE_WHEEL"
"""The environment variable that, set to anything, leaves the compiled code out: such a wheel runs on every platform."""
BUILDER = PACKAGE / "common" / "native" / "build.py"


def load_builder(root: Path) -> ModuleType:
    """Return the package's own build module, loaded from its file: the package's dependencies aren't here."""
    spec = importlib.util.spec_from_file_location("sparsebench_native_build", root / BUILDER)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"there is no {BUILDER}")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class NativeHook(BuildHookInterface):
    """Puts each compiled library beside its loader; without a compiler the package installs without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say for which platform the wheel is."""
        if self.target_name != "wheel" or os.environ.get(PURE):
            return
        builder = load_builder(Path(self.root))
        missing: dict[str, list[str]] = {}
        for library in builder.LIBRARIES:
            try:
                builder.build(library)
            except builder.BuildError as error:
                library.path.unlink(missing_ok=True)
                missing.setdefault(str(error), []).append(library.name)
                continue
            build_data["pure_python"] = False
            build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
            build_data["artifacts"].append(f"/{(PACKAGE / library.file).as_posix()}")
        for error, names in missing.items():
            self.app.display_warning(f"not built, torch runs instead: {' and '.join(names)}: {error}")
