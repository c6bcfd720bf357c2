"""Writes the data that make_reference.R analyses: `python make_data.py`, once; the files are kept."""

from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).parent
rng = np.random.default_rng(5)
n = 300
age = rng.uniform(60, 96, n).round(1)
sex = rng.integers(0, 2, n)
mean = 3.5 * 1.3 ** ((age - 75) / 10)
count = rng.poisson(rng.gamma(1.6, mean / 1.6)) * (rng.random(n) > 0.2)
second = np.clip(count + rng.integers(-2, 3, n), 0, None)
score = (count + rng.normal(0.3, 1.2, n)).round(3)
columns = {"age": age, "sex": sex, "count": count, "second": second, "score": score}
pd.DataFrame(columns).to_csv(HERE / "counts.csv", index=False)
