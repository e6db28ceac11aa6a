"""What a worker of a cluster does when its node is gone."""

import signal
import subprocess
import sys

WORKER = """
import os, threading, time
from benchmarks.running.cluster import worker

worker.PATIENCE = 0.1
threading.Thread(target=worker.end_with_node, args=(os.getppid(),), daemon=True).start()
print("hanging", flush=True)
time.sleep(600)
"""
NODE = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]])"


def test_a_worker_that_hangs_ends_with_its_node():
    with subprocess.Popen([sys.executable, "-c", NODE, WORKER], stdout=subprocess.PIPE, text=True) as node:
        assert node.stdout.readline() == "hanging\n"
        node.send_signal(signal.SIGKILL)
        assert node.stdout.read() == ""  # which ends when no process has it open any more
