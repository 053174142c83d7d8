"""What importing the packages does, each in an interpreter of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_sizes_are_known_without_any_model_library():
    said = run(
        "import sys\n"
        "from t4dm_daemon.qwen import NANO, QWEN25_3B\n"
        "from t4dm_daemon.spiking import StackConfig\n"
        "print(StackConfig().parameters_per_block(), NANO.name)\n"
        "print(sorted({'torch', 'transformers', 'peft'} & set(sys.modules)))"
    )

    assert said == "12600368 t4dm-nano\n[]\n"


@pytest.mark.parametrize(("library", "name"), [("torch", "spiking.SpikingStack"), ("peft", "qwen.UnifiedModel")])
def test_a_missing_library_is_named_with_what_to_install(library: str, name: str):
    package, attribute = name.split(".")
    said = run(
        f"import sys; sys.modules[{library!r}] = None\n"
        "from t4dm_daemon.core.errors import MissingExtraError\n"
        f"import t4dm_daemon.{package} as package\n"
        f"try: package.{attribute}\n"
        "except MissingExtraError as error: print(error)\n"
    )

    assert library in said
    assert "pip install 't4dm[model]'" in said


def test_every_promised_name_is_there_and_no_other():
    import t4dm_daemon.qwen as qwen
    import t4dm_daemon.spiking as spiking

    for package in (qwen, spiking):
        assert all(getattr(package, name) is not None for name in package.__all__)
        with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
            package.nothing  # noqa: B018


def test_importing_the_model_fetches_nothing_and_says_nothing():
    pytest.importorskip("bitsandbytes")

    said = run(
        "import sys, types\n"
        "import transformers.models.qwen2.modeling_qwen2\n"  # looks for the real package by its metadata
        "kernels = types.ModuleType('kernels')\n"
        "kernels.get_kernel = lambda *_, **__: print('FETCHED')\n"
        "sys.modules['kernels'] = kernels\n"
        "from t4dm_daemon.qwen import UnifiedModel\n"
        "import bitsandbytes\n"
        "assert sys.modules['kernels'] is kernels"
    )

    assert said == ""
