"""The build hook: compiles the kernels of engine ``sparse`` with the system's C compiler, where there is one."""

from __future__ import annotations

import importlib.util
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path("benchmark", "sparsebench", "engines", "sparse")


def load_builder(root: Path) -> ModuleType:
    """Return the package's own build module, loaded from its file: the package's dependencies aren't here."""
    spec = importlib.util.spec_from_file_location("sparsebench_kernels_build", root / FOLDER / "build.py")
    if spec is None or spec.loader is None:
        raise RuntimeError(f"there is no {FOLDER / 'build.py'}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class KernelsHook(BuildHookInterface):
    """Puts the compiled kernels beside their loader; without a compiler the package installs without them."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and say for which platform the wheel is."""
        if self.target_name != "wheel":
            return
        builder = load_builder(Path(self.root))
        target = Path(self.root) / FOLDER / builder.LIBRARY
        try:
            builder.build(target)
        except builder.BuildError as error:
            target.unlink(missing_ok=True)
            self.app.display_warning(f"engine 'sparse' is not built, torch runs instead: {error}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(f"/{(FOLDER / builder.LIBRARY).as_posix()}")
