"""A service under load: requests arrive, wait, and are answered in batches by models on machines that are shared.

`streams` says when requests arrive, `latency` how long a batch takes, `service` which models there are and what each
would answer, `dial` what a service may do with a request and how well and how fast that is, `policies` what it does at
which load, `simulation` how all of them wait, and `fitting` which knobs of a policy keep a latency budget.

The elastic schedule follows what the abstract of ElasticLM (arXiv 2311.07204) says of it; its details are ours.
"""

from cat_keras.serving import policies, streams
from cat_keras.serving.dial import Action, Dial
from cat_keras.serving.fitting import Fitted, breaking_rate, fit, quality_difference
from cat_keras.serving.latency import Latency
from cat_keras.serving.policies import Family, Policy, register
from cat_keras.serving.service import Server, Service
from cat_keras.serving.simulation import Served, simulate

__all__ = [
    "Action",
    "Dial",
    "Family",
    "Fitted",
    "Latency",
    "Policy",
    "Served",
    "Server",
    "Service",
    "breaking_rate",
    "fit",
    "policies",
    "quality_difference",
    "register",
    "simulate",
    "streams",
]
