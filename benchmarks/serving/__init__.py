"""A run's models as a service under load: `latencies` → `staging` → `trial`; `models` has the real ones."""
