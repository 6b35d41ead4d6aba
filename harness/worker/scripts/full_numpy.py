"""Runs `python script.py ...` but has numpy print arrays of up to COUNT values: `python full_numpy.py COUNT script.py ...`.

Not all arrays: a picture or a table of probabilities that a script prints would take minutes.
"""

import os
import runpy
import sys

import numpy as np

if __name__ == "__main__":
    np.set_printoptions(threshold=max(1000, int(sys.argv[1])))
    del sys.argv[:2]
    script = os.path.abspath(sys.argv[0])
    sys.path[0] = os.path.dirname(script)
    runpy.run_path(script, run_name="__main__")
