"""Runs a script once for each line of JSON that comes in: `python -m harness.worker.warm REQUESTS REPLIES SEED`.

REQUESTS and REPLIES are file descriptors. The first run is a plain one and pays for all imports; what it imported is then
made to remember the models and .h5 files that it reads.
"""

import gc
import json
import os
import sys
import time

from harness.worker.warm import h5_memory, keras_memory
from harness.worker.warm.stage import Stage


def main() -> None:
    """Serve until the pipe is closed."""
    requests, replies, seed = (int(word) for word in sys.argv[1:4])
    _leave_no_trace()
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    stage = Stage(seed)
    began, first = time.time_ns(), True
    with os.fdopen(requests, encoding="utf-8") as asked, os.fdopen(replies, "w", encoding="utf-8") as answered:
        for line in asked:
            request = json.loads(line)
            status = stage.run(**request)
            answered.write(json.dumps({"status": status}) + "\n")
            answered.flush()
            if first:
                h5_memory.install(older_than=began)
                keras_memory.install(older_than=began)
                stage.seed_libraries()
                # What was imported stays: looking through it again and again would take longer than most runs.
                gc.collect()
                gc.freeze()
                first = False
            keras_memory.between_runs()
    os._exit(0)


def _leave_no_trace() -> None:
    """Have the script find the modules, the path and the environment that a process of its own would have."""
    if path := os.environ.pop("WARM_PYTHONPATH", ""):
        os.environ["PYTHONPATH"] = path
    else:
        os.environ.pop("PYTHONPATH", None)
    code = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
    sys.path[:] = [entry for entry in sys.path if entry and os.path.abspath(entry) != code]
    for name in [name for name in sys.modules if name.partition(".")[0] == "harness"]:
        del sys.modules[name]


if __name__ == "__main__":
    main()
