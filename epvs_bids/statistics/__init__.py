"""Agreement, age regression and resampling as pure functions."""
