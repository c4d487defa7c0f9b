"""The published linear protocol; its settings are the protocol's own fields, as those of full mode are."""

from ....extensions import Probe

SGD = Probe(
    name="sgd",
    summary="softmax regression by SGD, as published",
    fit="sparsebench.transfer.probes.sgd:fit_seeds",
    protocol="cvpr22-linear",
    trains=True,
    place=1,
)
