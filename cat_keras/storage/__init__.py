"""Files that survive a kill, folders that several processes share, and the checks on what comes from outside."""
