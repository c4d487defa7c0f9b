"""Several processes that train one network: each computes a share of a step, and kept gradients are exchanged."""

from .network import Network, SharedNetwork
from .team import Peers, Team, find_team, require_equal

__all__ = ["Network", "Peers", "SharedNetwork", "Team", "find_team", "require_equal"]
