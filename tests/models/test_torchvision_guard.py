"""The one place that imports torchvision beside a torch its compiled operators do not fit."""

import subprocess
import sys
import textwrap

import pytest
import torch

from finercam._torchvision import import_torchvision


def run_python(code):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True)


def test_transforms_models_and_timm_work_after_the_guard():
    done = run_python(
        """
        from finercam._torchvision import import_torchvision
        import torch
        before = torch.library.register_fake
        vision = import_torchvision()
        assert torch.library.register_fake is before
        assert import_torchvision() is vision
        import timm
        from torchvision.transforms.v2 import functional
        assert vision.models.resnet18(weights=None)(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
        """
    )
    assert done.returncode == 0, done.stderr


def test_only_that_failure_is_guarded():
    done = run_python(
        """
        import sys, types, importlib.abc, importlib.machinery

        class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
            def find_spec(self, name, path=None, target=None):
                return importlib.machinery.ModuleSpec(name, self) if name == "torchvision" else None
            def create_module(self, spec):
                return None
            def exec_module(self, module):
                raise RuntimeError("something else is wrong")

        sys.meta_path.insert(0, Broken())
        from finercam._torchvision import import_torchvision
        try:
            import_torchvision()
        except RuntimeError as error:
            print(error)
        """
    )
    assert done.stdout.strip() == "something else is wrong", done.stderr


def test_other_libraries_declarations_still_reach_torch():
    import_torchvision()
    library = torch.library.Library("finercam_guard_test", "DEF")
    library.define("twice(Tensor x) -> Tensor")
    torch.library.register_fake("finercam_guard_test::twice", lambda x: x.new_empty(x.shape), lib=library)
    with pytest.raises(RuntimeError, match="nms"):
        torch.library.register_fake("torchvision::nms_that_does_not_exist", lambda x: x)
