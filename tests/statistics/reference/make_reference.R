# Reference values for the tests, from psych and pscl (Debian: r-cran-psych, r-cran-pscl, r-cran-jsonlite).
# Run once in this folder: Rscript make_reference.R; it writes reference.json, which the tests keep.
suppressPackageStartupMessages({library(psych); library(pscl); library(MASS); library(jsonlite)})

icc <- function(x) {
  r <- ICC(x, lmer = FALSE)$results[1:3, ]
  data.frame(value = r$ICC, low = r[["lower bound"]], high = r[["upper bound"]])
}
shrout <- matrix(c(9,2,5,8, 6,1,3,2, 8,4,6,8, 7,1,2,6, 10,5,6,9, 6,2,4,7), ncol = 4, byrow = TRUE)
d <- read.csv("counts.csv")
potter <- function(x) cut(x, c(-Inf, 0, 10, 20, 40, Inf), labels = FALSE)
kappa <- function(w) {
  k <- cohen.kappa(cbind(potter(d$count), potter(d$second)), w = w, levels = 1:5)
  list(value = k$weighted.kappa, se = sqrt(k$var.weighted))
}
distance <- abs(outer(0:4, 0:4, "-")) / 4
williams <- function(n, r12, r13, r23) { t <- r.test(n = n, r12 = r12, r13 = r13, r23 = r23); list(t = t$t, p = t$p) }

part <- function(m, what) {
  s <- summary(m)$coefficients; if (is.list(s)) s <- s[[what]]
  list(estimate = s[, 1], se = s[, 2])
}
fit <- function(m) list(log_likelihood = as.numeric(logLik(m)), aic = AIC(m), count = part(m, "count"))
control <- zeroinfl.control(reltol = 1e-14)
zinb <- zeroinfl(count ~ age + sex | 1, dist = "negbin", data = d, control = control)
zinb_age <- zeroinfl(count ~ age + sex | age + sex, dist = "negbin", data = d, control = control)
hurdle_nb <- hurdle(count ~ age + sex | age + sex, dist = "negbin", data = d, control = hurdle.control(reltol = 1e-14))
negative_binomial <- glm.nb(count ~ age + sex, data = d, control = glm.control(epsilon = 1e-12))
poisson_glm <- glm(count ~ age + sex, family = poisson, data = d)

write_json(list(
  versions = list(R = R.version.string, psych = as.character(packageVersion("psych")), pscl = as.character(packageVersion("pscl"))),
  icc_shrout_fleiss = icc(shrout),
  icc_counts = icc(cbind(d$count, d$score)),
  correlations = list(pearson = cor(d$count, d$score), spearman = cor(d$count, d$score, method = "spearman")),
  williams_steiger_1980 = williams(103, 0.5, 0.4, 0.1),
  williams_close = williams(405, 0.75, 0.63, 0.68),
  kappa_linear = kappa(distance),
  kappa_quadratic = kappa(distance^2),
  models = list(
    zinb = c(fit(zinb), list(theta = zinb$theta, zero = zinb$coefficients$zero)),
    `zinb-inflated-by-covariates` = fit(zinb_age),
    hurdle = fit(hurdle_nb),
    `negative-binomial` = c(fit(negative_binomial), list(theta = negative_binomial$theta)),
    poisson = fit(poisson_glm))
), "reference.json", digits = 12, auto_unbox = TRUE, pretty = TRUE)
