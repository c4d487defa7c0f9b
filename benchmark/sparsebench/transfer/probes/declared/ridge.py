"""Ridge regression."""

from ....extensions import Probe
from ..penalties import Penalised

RIDGE = Probe(
    name="ridge",
    summary="ridge regression in closed form, its L2 penalty chosen on validation",
    fit="sparsebench.transfer.probes.ridge:fit_seeds",
    settings=Penalised,
    protocol="ridge-linear",
    seeded=False,
    place=3,
)
