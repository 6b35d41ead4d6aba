"""Runs a script as `python script.py ...` does, but has numpy print arrays in full: `python full_numpy.py script.py ...`."""

import os
import runpy
import sys

import numpy as np

if __name__ == "__main__":
    np.set_printoptions(threshold=sys.maxsize)
    del sys.argv[0]
    script = os.path.abspath(sys.argv[0])
    sys.path[0] = os.path.dirname(script)
    runpy.run_path(script, run_name="__main__")
