"""`run --precision auto`: the device is asked, and TensorFlow is left for the run to start."""

import subprocess
import sys

import pytest


@pytest.mark.slow
def test_auto_is_a_precision_and_loads_no_tensorflow_here():
    code = (
        "import sys; from benchmarks.cli import run\n"
        "assert run._precision('mixed_float16') == 'mixed_float16'\n"
        "assert run._precision('auto') in ('float32', 'mixed_bfloat16')\n"
        "assert 'tensorflow' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
