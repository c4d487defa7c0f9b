"""Multinomial logistic regression."""

from ....extensions import Probe
from ..penalties import Penalised

LBFGS = Probe(
    name="lbfgs",
    summary="logistic regression by L-BFGS, its L2 penalty chosen on validation",
    fit="sparsebench.transfer.probes.lbfgs:fit_seeds",
    settings=Penalised,
    protocol="lbfgs-linear",
    seeded=False,
    place=2,
)
