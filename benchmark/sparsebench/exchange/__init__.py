"""Bundles of results: written for others, verified without trust, merged into a results folder.

A bundle is one zip file. It is read member by member within fixed limits, nothing in it is run,
and nothing is unpacked to disk.
"""

from .export import Exported, export_results
from .means import Means
from .merge import Merged, merge_bundles
from .problems import BundleError, Problem
from .verify import Verified, verify_bundle

__all__ = [
    "BundleError",
    "Exported",
    "Means",
    "Merged",
    "Problem",
    "Verified",
    "export_results",
    "merge_bundles",
    "verify_bundle",
]
