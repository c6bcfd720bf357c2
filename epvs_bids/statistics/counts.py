"""Regression of EPVS counts on age: zero-inflated negative binomial, and the models it is compared with."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from statsmodels.discrete.count_model import ZeroInflatedNegativeBinomialP, ZeroInflatedPoisson
from statsmodels.discrete.discrete_model import Logit, NegativeBinomialP, Poisson
from statsmodels.discrete.truncated_model import TruncatedLFNegativeBinomialP, TruncatedLFPoisson

LOGGER = logging.getLogger(__name__)

Floats = NDArray[np.float64]
ModelName = Literal["poisson", "negative-binomial", "zinb", "zinb-inflated-by-covariates", "hurdle"]

MODEL_NAMES: tuple[ModelName, ...] = (
    "zinb",
    "zinb-inflated-by-covariates",
    "hurdle",
    "negative-binomial",
    "poisson",
)
"""Models in the order in which they are reported; the first is the paper's."""

MAX_GRADIENT = 1e-3
"""Largest component of the log-likelihood's gradient, a scan, at which a fit counts as converged."""

NO_GAIN = 0.01
"""Gain in log-likelihood over a simpler model below which the larger one has ended on its boundary."""


@dataclass(frozen=True)
class Coefficient:
    """A coefficient of the count part (log scale), with standard error, Wald 95 % interval and p value."""

    name: str
    value: float
    se: float
    low: float
    high: float
    p: float

    def rate_ratio(self, units: float = 1.0) -> tuple[float, float, float]:
        """exp(units × coefficient) with its 95 % limits: the factor on the mean count for `units` more."""
        low, high = sorted((self.low * units, self.high * units))
        return float(np.exp(self.value * units)), float(np.exp(low)), float(np.exp(high))


@dataclass(frozen=True)
class CountModel:
    """A fitted count regression.

    Parameters
    ----------
    name
        Which model.
    converged
        Whether a maximum was reached with finite parameters and standard errors; else all numbers are NaN.
    note
        Why it did not converge, or which simpler model it ended on.
    n, n_parameters
        Scans, and free parameters.
    log_likelihood
        At the maximum.
    coefficients
        Of the count part: `intercept`, then one for each predictor.
    zero_share
        Share of structural zeros at the mean of the predictors (zero-inflated models), else NaN.
    dispersion
        α of the negative binomial, variance = μ + α μ²; 0 for Poisson.
    """

    name: str
    converged: bool
    note: str
    n: int
    n_parameters: int
    log_likelihood: float
    coefficients: tuple[Coefficient, ...] = ()
    zero_share: float = np.nan
    dispersion: float = np.nan

    @property
    def aic(self) -> float:
        """Akaike's information criterion, 2 k − 2 log L."""
        return 2 * self.n_parameters - 2 * self.log_likelihood

    def coefficient(self, name: str) -> Coefficient:
        """Return the coefficient of predictor `name`; NaN throughout where the model did not converge."""
        for one in self.coefficients:
            if one.name == name:
                return one
        return Coefficient(name, *[np.nan] * 5)


@dataclass(frozen=True)
class _Data:
    """Counts, standardised predictors with a leading column of ones, their means and scales, and names."""

    counts: Floats
    design: Floats
    means: Floats
    scales: Floats
    names: tuple[str, ...]

    @property
    def ones(self) -> Floats:
        return np.ones((self.counts.size, 1))


@dataclass(frozen=True)
class _Fit:
    """A converged fit: parameters and covariance as statsmodels orders them, log-likelihood."""

    params: Floats
    covariance: Floats
    log_likelihood: float


def fit_counts(
    counts: ArrayLike, predictors: ArrayLike, names: Sequence[str], *, model: ModelName = "zinb"
) -> CountModel:
    """Fit a count regression by maximum likelihood, from several starts, and demand that it converged.

    The count part has a log link, log μ = β₀ + Σ βⱼ xⱼ. The zero-inflated negative binomial (NB2, variance
    μ + α μ²) adds a share π of structural zeros, constant (ours; the paper does not say) or by the predictors
    (`zinb-inflated-by-covariates`). The hurdle model is a logistic regression of any EPVS at all, on all
    predictors, and a zero-truncated negative binomial of how many.

    A zero-inflated fit that gains nothing over the negative binomial or the zero-inflated Poisson lies on the
    boundary of its parameters (π = 0 or α = 0): the estimates are then those of the simpler model, and `note`
    says so.

    Parameters
    ----------
    counts
        Shape (n,), whole numbers ≥ 0.
    predictors
        Shape (n, p), finite, each column with some variation.
    names
        Names of the p predictors.
    model
        Which of `MODEL_NAMES`.

    Returns
    -------
    The fit, with `converged` False where no start led to a maximum with finite parameters (statsmodels has
    been seen to return NaN and say that it converged).

    Raises
    ------
    ValueError
        For counts that are negative, not whole, all zero, or predictors that are not finite or do not vary.

    References
    ----------
    Dubost et al. (2019), section 3.8; Greene (1994), NYU Stern EC-94-10; Mullahy (1986), J. Econometrics
    33:341–365.
    """
    data = _prepare(counts, predictors, names)
    fitters: dict[str, Callable[[_Data], CountModel]] = {
        "poisson": _poisson,
        "negative-binomial": _negative_binomial,
        "zinb": lambda d: _zero_inflated(d, "zinb", d.ones),
        "zinb-inflated-by-covariates": lambda d: _zero_inflated(d, "zinb-inflated-by-covariates", d.design),
        "hurdle": _hurdle,
    }
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # what they say is checked: finite values, gradient, curvature
        return fitters[model](data)


def _prepare(counts: ArrayLike, predictors: ArrayLike, names: Sequence[str]) -> _Data:
    """Check the data and standardise the predictors, which makes the likelihood well conditioned."""
    y, x = np.asarray(counts, dtype=np.float64), np.asarray(predictors, dtype=np.float64)
    if x.shape != (y.size, len(names)) or not np.isfinite(x).all() or (np.ptp(x, axis=0) == 0).any():
        raise ValueError("predictors must be finite, vary, and have one row a count and one name a column")
    if not np.isfinite(y).all() or (y < 0).any() or (y != np.rint(y)).any() or not y.any():
        raise ValueError("counts must be whole numbers, none negative and not all of them zero")
    means, scales = x.mean(axis=0), x.std(axis=0)
    design = np.column_stack([np.ones(y.size), (x - means) / scales])
    return _Data(y, design, means, scales, tuple(names))


def _converged(model: Any, starts: Sequence[Floats | None]) -> _Fit | None:  # noqa: ANN401 - statsmodels
    """Fit from every start; keep the best maximum with a flat gradient and finite, positive variances."""
    best: _Fit | None = None
    for start in starts:
        try:
            result = model.fit(start_params=start, method="bfgs", maxiter=1000, gtol=1e-6, disp=0)
            params = np.asarray(result.params, dtype=np.float64)
            covariance = np.asarray(result.cov_params(), dtype=np.float64)
            gradient = np.asarray(model.score(params)) / model.endog.size
        except (np.linalg.LinAlgError, ValueError, FloatingPointError) as error:
            LOGGER.debug("%s from %s: %s", type(model).__name__, start, error)
            continue
        sound = (
            np.isfinite(params).all() and np.isfinite(covariance).all() and (np.diag(covariance) > 0).all()
        )
        flat = np.isfinite(gradient).all() and np.abs(gradient).max() < MAX_GRADIENT
        if sound and flat and (best is None or result.llf > best.log_likelihood):
            best = _Fit(params, covariance, float(result.llf))
    return best


def _coefficients(data: _Data, params: Floats, covariance: Floats) -> tuple[Coefficient, ...]:
    """Coefficients in the predictors' own units: β = T γ, with γ those of the standardised predictors."""
    transform = np.diag(np.r_[1.0, 1 / data.scales])
    transform[0, 1:] = -data.means / data.scales
    values = transform @ params
    errors = np.sqrt(np.diag(transform @ covariance @ transform.T))
    z = stats.norm.ppf(0.975)
    return tuple(
        Coefficient(
            name,
            float(b),
            float(se),
            float(b - z * se),
            float(b + z * se),
            float(2 * stats.norm.sf(abs(b) / se)),
        )
        for name, b, se in zip(("intercept", *data.names), values, errors, strict=True)
    )


def _failed(data: _Data, name: str, n_parameters: int) -> CountModel:
    return CountModel(
        name,
        False,
        "no start reached a maximum with finite parameters",
        data.counts.size,
        n_parameters,
        np.nan,
    )


def _poisson(data: _Data) -> CountModel:
    p = data.design.shape[1]
    fit = _converged(Poisson(data.counts, data.design), [None])
    if fit is None:
        return _failed(data, "poisson", p)
    return CountModel(
        "poisson", True, "", data.counts.size, p, fit.log_likelihood,
        _coefficients(data, fit.params, fit.covariance), dispersion=0.0,
    )  # fmt: skip


def _negative_binomial(data: _Data) -> CountModel:
    p = data.design.shape[1]
    poisson = _poisson(data)
    fit = _converged(NegativeBinomialP(data.counts, data.design), [None, _nb_start(data)])
    name = "negative-binomial"
    if poisson.converged and (fit is None or fit.log_likelihood - poisson.log_likelihood < NO_GAIN):
        note = "no overdispersion: the same as poisson"
        return replace(poisson, name=name, n_parameters=p + 1, note=note)
    if fit is None:
        return _failed(data, name, p + 1)
    return CountModel(
        name, True, "", data.counts.size, p + 1, fit.log_likelihood,
        _coefficients(data, fit.params[:p], fit.covariance[:p, :p]), dispersion=float(fit.params[p]),
    )  # fmt: skip


def _nb_start(data: _Data) -> Floats:
    """Constant mean and the moment estimate of α."""
    mean, variance = data.counts.mean(), data.counts.var()
    alpha = max((variance - mean) / mean**2, 0.1)
    return np.concatenate([[np.log(mean)], np.zeros(data.design.shape[1] - 1), [alpha]])


def _zero_inflated(data: _Data, name: str, inflation: Floats) -> CountModel:
    """Zero-inflated negative binomial, or the simpler model on whose boundary it ends."""
    p, q = data.design.shape[1], inflation.shape[1]
    base = _nb_start(data)
    positive_mean = np.log(data.counts[data.counts > 0].mean())
    shares = (0.02, max(np.mean(data.counts == 0) / 2, 0.05), max(np.mean(data.counts == 0), 0.1) * 0.9)
    starts = [
        np.r_[np.log(share / (1 - share)), np.zeros(q - 1), positive_mean, base[1:p], alpha]
        for share, alpha in zip(shares, (base[p], base[p] / 2, 0.1), strict=True)
    ]
    full = _converged(ZeroInflatedNegativeBinomialP(data.counts, data.design, exog_infl=inflation), starts)
    if full is not None:
        nested = _negative_binomial(data)
        if not nested.converged or full.log_likelihood - nested.log_likelihood >= NO_GAIN:
            return _inflated_model(data, name, full, q, float(full.params[q + p]))
    return _on_boundary(data, name, inflation, [start[:-1] for start in starts])


def _on_boundary(data: _Data, name: str, inflation: Floats, starts: Sequence[Floats]) -> CountModel:
    """Take the better model on the boundary: no overdispersion (α = 0) or no structural zeros (π = 0)."""
    p, q = data.design.shape[1], inflation.shape[1]
    negative_binomial = _negative_binomial(data)
    zip_fit = _converged(ZeroInflatedPoisson(data.counts, data.design, exog_infl=inflation), starts)
    floor = negative_binomial.log_likelihood if negative_binomial.converged else -np.inf
    if zip_fit is not None and zip_fit.log_likelihood >= floor + NO_GAIN:
        model = _inflated_model(data, name, zip_fit, q, 0.0)
        return replace(model, note="no overdispersion: the same as the zero-inflated poisson")
    if negative_binomial.converged and _has_no_excess(data, negative_binomial):
        note = "no excess zeros: the same as the negative binomial"
        return replace(negative_binomial, name=name, n_parameters=p + q + 1, note=note, zero_share=0.0)
    return _failed(data, name, p + q + 1)


def _has_no_excess(data: _Data, model: CountModel) -> bool:
    """Whether the model without structural zeros expects as many zeros as there are, or more."""
    slopes = np.array([one.value for one in model.coefficients])
    mu = np.exp(slopes[0] + (data.design[:, 1:] * data.scales + data.means) @ slopes[1:])
    zero = np.exp(-mu) if model.dispersion == 0 else (1 + model.dispersion * mu) ** (-1 / model.dispersion)
    observed = np.mean(data.counts == 0)
    return bool(observed <= zero.mean() + 2 * np.sqrt(zero.mean() * (1 - zero.mean()) / data.counts.size))


def _inflated_model(data: _Data, name: str, fit: _Fit, q: int, dispersion: float) -> CountModel:
    p = data.design.shape[1]
    part = slice(q, q + p)
    return CountModel(
        name, True, "", data.counts.size, p + q + 1, fit.log_likelihood,
        _coefficients(data, fit.params[part], fit.covariance[part, part]),
        zero_share=float(1 / (1 + np.exp(-fit.params[0]))), dispersion=dispersion,
    )  # fmt: skip


def _hurdle(data: _Data) -> CountModel:
    """Logistic regression of any EPVS, and zero-truncated negative binomial of how many."""
    p = data.design.shape[1]
    some = data.counts > 0
    if some.all():
        zero = _Fit(np.zeros(p), np.zeros((p, p)), 0.0)  # nobody has none: that part is certain
    else:
        found = _converged(Logit(some.astype(float), data.design), [None])
        if found is None:
            return _failed(data, "hurdle", 2 * p + 1)
        zero = found
    positive = replace(data, counts=data.counts[some], design=data.design[some])
    start = _nb_start(positive)
    fit = _converged(TruncatedLFNegativeBinomialP(positive.counts, positive.design), [None, start])
    alpha, note = (float(fit.params[p]), "") if fit else (0.0, "no overdispersion: truncated poisson")
    fit = fit or _converged(TruncatedLFPoisson(positive.counts, positive.design), [None, start[:p]])
    if fit is None:
        return _failed(data, "hurdle", 2 * p + 1)
    return CountModel(
        "hurdle", True, note, data.counts.size, 2 * p + 1, fit.log_likelihood + zero.log_likelihood,
        _coefficients(data, fit.params[:p], fit.covariance[:p, :p]), dispersion=alpha,
    )  # fmt: skip
