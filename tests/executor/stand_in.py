"""A stand-in for a training: counts steps, saves at once on a signal, goes on from where it saved.

    python stand_in.py OUTPUT STEPS SECONDS_PER_STEP [PARAMETER]

The state and a journal (one line for each start) lie in ``state/`` under the name of the output.
"""

import os
import signal
import sys
import time
from pathlib import Path

output, steps, seconds = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
state = Path("state", output.name)
state.parent.mkdir(exist_ok=True)
came = []
for number in (signal.SIGTERM, signal.SIGUSR2):
    signal.signal(number, lambda got, frame: came.append(got))


def save(step: int) -> None:
    """Replace the saved step."""
    temporary = state.with_suffix(".new")
    temporary.write_text(str(step))
    temporary.replace(state)


first = int(state.read_text()) if state.exists() else 0
with state.with_suffix(".journal").open("a") as journal:
    journal.write(f"start {first} pid {os.getpid()} node job {os.environ.get('SLURM_JOB_ID', '')}\n")
for step in range(first, steps):
    time.sleep(seconds)
    if came or step % 10 == 9:
        save(step + 1)
    if came:
        print(f"saved step {step + 1} after signal {came[0]}", flush=True)
        sys.exit(75)
save(steps)
output.write_text(f"{steps} {' '.join(sys.argv[4:])}\n")
