"""What every candidate in Python has in common: it answers lines, one round of work for each "go".

Started with the path of a picture. "go" is answered with the CPU milliseconds of the round, user and system, of all
threads of this process; "peak" with the most bytes that were resident since the picture was read.
"""

import sys
import time


def serve(work):
    """Calls `work` with the picture's bytes at each "go", until the input is closed."""
    with open(sys.argv[1], "rb") as file:
        data = file.read()
    # Linux takes the memory that is resident now as the new peak.
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    for line in sys.stdin:
        order = line.strip()
        if order == "go":
            begun = time.process_time()
            work(data)
            print((time.process_time() - begun) * 1e3, flush=True)
        elif order == "peak":
            print(peak_resident_bytes(), flush=True)


def peak_resident_bytes():
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status has no VmHWM")
