"""What a release says about itself agrees, and its licences name what is carried and used."""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sparsebench.datasets.sources.embedded.glyphs import FAMILIES
from sparsebench.datasets.sources.embedded.textures import PHOTOS
from sparsebench.registry import load_registry

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / ".ci"), str(ROOT / "scripts")]

import check_release  # noqa: E402
import check_wheel  # noqa: E402

import lowest  # noqa: E402

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LICENCES = (ROOT / "LICENSES.md").read_text()


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for name in ("pyproject.toml", "CITATION.cff", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def change(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


def test_the_version_is_said_alike() -> None:
    assert check_release.problems(ROOT) == []


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("CITATION.cff", "version: 0.1.0", "version: 0.2.0", "CITATION.cff has version 0.2.0"),
        ("CHANGELOG.md", "## 0.1.0", "## 0.0.9", "CHANGELOG.md begins with 0.0.9"),
        ("CHANGELOG.md", "(unreleased)", "(2026-12-01)", "CHANGELOG.md says 2026-12-01, CITATION.cff no date"),
        ("pyproject.toml", 'version = "0.1.0"', 'version = "0.2.0"', "pyproject.toml 0.2.0"),
    ],
)
def test_a_version_that_is_said_otherwise(name: str, old: str, new: str, message: str, copy: Path) -> None:
    change(copy / name, old, new)
    assert any(message in line for line in check_release.problems(copy))


def test_a_release_has_a_date_and_its_own_tag(copy: Path) -> None:
    assert "the tag is v9, not v0.1.0" in check_release.problems(copy, "v9")
    assert any("no date-released" in line for line in check_release.problems(copy, "v0.1.0"))
    change(copy / "CITATION.cff", "version: 0.1.0", "version: 0.1.0\ndate-released: 2026-12-01")
    change(copy / "CHANGELOG.md", "(unreleased)", "(2026-12-01)")
    assert check_release.problems(copy, "v0.1.0") == []


def test_the_citation_s_addresses_are_whole() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    papers = [one for one in citation["references"] if one["type"] == "conference-paper"]
    assert all(re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{5}", paper["url"]) for paper in papers)
    assert citation["license"] == PROJECT["license"]


def test_lowest_versions() -> None:
    found = lowest.lowest(PROJECT["dependencies"])
    assert len(found) == len(PROJECT["dependencies"])
    assert all(re.fullmatch(r"[\w.-]+==[\d.]+", line) for line in found)
    extra = lowest.requirements_of(PROJECT["optional-dependencies"], (), ["test"])
    assert {"google-crc32c", "pytest", "pytest-xdist", "hypothesis"} <= {line.partition(">=")[0] for line in extra}
    with pytest.raises(ValueError, match="is not NAME>=VERSION"):
        lowest.lowest(["torch"])


def test_the_versions_that_were_tried_are_the_lowest() -> None:
    text = (ROOT / "docs" / "engineering" / "versions.md").read_text()
    table = text.partition("## The lowest versions")[2].partition("The first run")[0]
    cells = [cell.strip() for line in table.splitlines() if line.startswith("|") for cell in line.split("|")[1:-1]]
    stated = dict(zip(cells[::2], cells[1::2], strict=True))
    assert all(stated[name] == version for name, version in map(_pair, lowest.lowest(PROJECT["dependencies"])))
    tried = set(re.findall(r"^\| (3\.\d+) \| newest", text, re.MULTILINE))
    assert {name.rpartition(" ")[2] for name in PROJECT["classifiers"] if ":: Python :: 3." in name} == tried


def _pair(requirement: str) -> tuple[str, str]:
    name, _, version = requirement.partition("==")
    return name, version


def test_every_licence_of_what_is_carried_or_used_is_named() -> None:
    registry = load_registry()
    embedded = [c for c in registry.checkpoints.values() if c.file.path.startswith("package:")]
    assert all(c.licence in LICENCES for c in embedded)
    for photo in PHOTOS.values():
        assert f"`{photo.file}`" in LICENCES
    for family, fonts in (("DejaVu", FAMILIES["train"]), ("STIX", FAMILIES["val"]), ("cmr10", FAMILIES["test"])):
        assert family in LICENCES
        assert any(font.startswith(family) for font in fonts)
    for task in ("digits", "glyphs", "textures"):
        for part in re.split(r"[;,] ", registry.task(task).licence):
            name = re.sub(r"\(.*?\)|^china\.jpg |^motorcycle ", "", part).strip().replace(" and public domain", "")
            assert name in LICENCES


def test_nothing_is_carried_that_has_a_licence_of_its_own_but_is_not_named() -> None:
    code = {".py", ".typed", ".c", ".h", ".so", ".html", ".css", ".js", ".yaml"}
    others = {Path(name) for name in check_wheel.expected() if Path(name).suffix not in code}
    folders = {path.parent.as_posix().replace("_root/", "") for path in others}
    assert folders == {"sparsebench/weights", "sparsebench/results/published", "sparsebench/tasks/splits"}
    assert {path.suffix for path in others} <= {".safetensors", ".json", ".csv", ".npz"}
    for folder in folders:
        assert f"`{folder.removeprefix('sparsebench/').removesuffix('/splits')}" in LICENCES.replace(
            "benchmark/sparsebench/", ""
        )


def test_licences_come_with_packages() -> None:
    assert {"LICENSE", "LICENSES.md"} <= set(PROJECT["license-files"])


def test_a_pure_wheel_has_no_compiled_code() -> None:
    files = check_wheel.expected() | {f"s.dist-info/{name}" for name in ("licenses/LICENSE", "licenses/LICENSES.md")}
    files |= {"s.dist-info/entry_points.txt"}
    compiled = "sparsebench/engines/sparse/_kernels.so"
    pure = {name for name in files if not name.endswith(".so")}
    assert check_wheel.problems(pure, pure=True) == []
    assert check_wheel.problems(pure | {compiled}, pure=True) == [f"carries compiled code: {compiled}"]
    assert check_wheel.problems(files | {compiled}) == []
