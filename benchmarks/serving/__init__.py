"""A run's models as a service under load: `latencies` → `staging` → `trial` → `records`; `models` has the real ones."""
