"""What quantities are called in files, as far as a name tells what is meant."""

from __future__ import annotations

from collections.abc import Mapping

from bn_diagnosis.recovery.trees import Symbol, Tree

_CALLED: Mapping[str, tuple[str, ...]] = {
    "mean": ("m", "mu", "mean", "avg", "average", "mub", "batchmean", "samplemean", "xmean"),
    "var": (
        "v",
        "var",
        "variance",
        "sigma2",
        "sigmasq",
        "batchvar",
        "samplevar",
        "xvar",
        "sigma2b",
    ),
    "s": ("s", "std", "sd", "sigma", "sqrtvar", "denom", "stddev", "samplestd", "root"),
    "inverse": ("ivar", "invstd", "istd", "rstd", "inv", "invvar"),
    "u": ("u", "nz", "xhat", "norm", "xnorm", "normalized", "normalised", "xnormalized", "zhat"),
    "centred": ("d", "c", "diff", "dev", "xmu", "centered", "centred", "xc", "xcentered", "dn"),
    "gamma": ("bw", "gamma", "weight", "g"),
    "beta": ("bb", "beta", "bias", "b"),
    "old_mean": ("runningm", "runningmean", "rm", "movingmean"),
    "old_var": ("runningv", "runningvar", "rv", "movingvar"),
    "dgamma": ("dgamma", "dldbw", "dweight"),
    "dbeta": ("dbeta", "dldbb", "dbias"),
    "du": ("du", "dxhat", "dldnz", "dxnorm", "dnorm"),
    "dvar": ("dvar", "dldv", "dsigma2"),
    "dmean": ("dmu", "dmean", "dldm"),
    "dsquares": ("dsq", "dsquares", "dsquare"),
    "n": ("n", "m", "b", "batch", "batchsize", "count"),
    "g": ("g", "dout", "delta", "dldbz", "grad", "gradoutput"),
    "z": ("x", "z"),
}
"""The names that a quantity usually has, without what is no letter or digit."""


def called(name: str) -> str | None:
    """Return the quantity whose usual name it is, if it is no single letter."""
    plain = _plain(name)
    found = (quantity for quantity, names in _CALLED.items() if plain in names)
    return next(found, None) if len(plain) > 1 else None


def is_called(name: str, quantity: Tree) -> bool:
    """Whether a name, which may have an object before it or a key behind, is a quantity's usual
    one.
    """
    if not isinstance(quantity, Symbol):
        return False
    return _plain(name) in _CALLED.get(quantity.name, ())


def _plain(name: str) -> str:
    *_, last = name.rstrip("]'\"").replace("[", ".").split(".")
    return "".join(each for each in last.lower() if each.isalnum())
