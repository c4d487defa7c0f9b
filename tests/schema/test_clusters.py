"""Which test images come from one source."""

import pytest
from pydantic import ValidationError

from sparsebench.registry import load_tasks
from sparsebench.schema import Clusters


def test_groups_name_the_source_and_numbers_are_divided():
    frames = Clusters(pattern=r"(clip\d+)/frame\d+\.png")
    assert frames.source_of("clip1/frame2.png") == frames.source_of("clip1/frame9.png")
    assert frames.source_of("clip1/frame2.png") != frames.source_of("clip2/frame2.png")
    assert frames.source_of("elsewhere/clip1/frame2.png") is None
    patches = Clusters(pattern=r"(\w+)/(\d+)/(\d+)", step=64)
    assert patches.source_of("a/0/63") == patches.source_of("a/32/0") != patches.source_of("a/64/0")
    assert patches.source_of("a/0/64") != patches.source_of("a/64/0")
    assert patches.source_of("a/" + "9" * 5000 + "/0") is not None


@pytest.mark.parametrize("pattern", ["(", "nogroup", "(?:x)"])
def test_a_pattern_that_names_no_source_is_refused(pattern):
    with pytest.raises(ValidationError, match=r"regular expression|needs a group"):
        Clusters(pattern=pattern)


def sources(task):
    from sparsebench.datasets import open_task

    own = load_tasks().tasks[task]
    return [own.clusters.source_of(image) for image in open_task(own).test.ids]


def test_embedded_images_of_one_letter_and_font_are_one_unit():
    found = sources("glyphs")
    assert None not in found
    assert len(set(found)) == 26 * 5
    assert all(found.count(source) == 8 for source in set(found))


def test_embedded_patches_of_one_region_are_one_unit():
    found = sources("textures")
    assert None not in found
    assert 100 < len(set(found)) < 140
    assert max(found.count(source) for source in set(found)) <= (128 // 32) ** 2
    assert load_tasks().tasks["digits"].clusters is None
