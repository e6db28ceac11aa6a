"""What Linux says of the processor."""

import contextlib
from pathlib import Path


def facts() -> dict[str, str]:
    """Of the first core, such as "flags" and "model name" on x86; nothing elsewhere than on Linux."""
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").partition("\n\n")[0]
        return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in first.splitlines())}
    return {}
