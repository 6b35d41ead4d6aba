"""Brings TensorFlow and Keras in without TensorFlow's chatter on a submission's standard error."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_STDERR = 2


def environment(*, gpu: bool = False) -> dict[str, str]:
    """Environment variables to set before TensorFlow, Keras or torch is imported: no notices, Keras on TensorFlow."""
    hidden = {} if gpu else {"CUDA_VISIBLE_DEVICES": "-1"}
    return hidden | {
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "KERAS_BACKEND": "tensorflow",
        # Threads that spin while they wait make torch many times slower as soon as anything else runs on the machine.
        "OMP_WAIT_POLICY": "PASSIVE",
        # Activations of some megabytes are kept for the next batch: glibc would hand each back to the system and have it
        # filled with zeros again, which takes a third of torch's time.
        "MALLOC_MMAP_THRESHOLD_": str(256 * 2**20),
        "MALLOC_TRIM_THRESHOLD_": str(512 * 2**20),
    }


def import_keras() -> Any:
    """Import Keras, on TensorFlow, without start-up notices."""
    import_tensorflow()
    with _held_back():
        import keras
    return keras


def import_tensorflow() -> Any:
    """Import TensorFlow without its start-up notices."""
    with _held_back():
        import tensorflow as tf

    # TensorFlow 2.21 breaks a graph with Add followed by ReLU when it fuses them, and then runs it unoptimised:
    # without that fusing there are no errors and DeepID is a little faster.
    tf.config.optimizer.set_experimental_options({"remapping": False})
    return tf


@contextmanager
def _held_back() -> Iterator[None]:
    """Hold standard error back, C++ lines too; it is shown after all if the block raises.

    TensorFlow prints its oneDNN notice before its log level is read, so that no environment variable can stop it.
    """
    sys.stderr.flush()
    real = os.dup(_STDERR)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), _STDERR)
        try:
            yield
        except BaseException:
            kept.seek(0)
            os.write(real, kept.read())
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real, _STDERR)
            os.close(real)
