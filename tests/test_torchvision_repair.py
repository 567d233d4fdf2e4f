"""One broken install is repaired; every other is left alone. Each case is a process of its own."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch
from conftest import environment

REPAIR = (
    "from cftransfer.models.torchvision_repair import repair; import sys; "
    "print(sys.modules['torchvision'].__file__, repair())"
)
NMS_MISSING = "raise RuntimeError('operator torchvision::nms does not exist')"


def python(code, **changes):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env=environment(**changes),
        check=False,
    )


def install(folder, content):
    package = folder / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(content)
    return str(folder)


def is_broken_here():
    return "torchvision::nms does not exist" in python("import torchvision").stderr


@pytest.mark.slow
@pytest.mark.skipif(find_spec("torchvision") is None or torch.version.cuda is not None, reason="needs a CPU-only torch")
def test_the_real_wheel_beside_a_cpu_only_torch():
    if not is_broken_here():
        pytest.skip("this torchvision was built for this torch")
    after = "import cftransfer.models.torchvision_repair, torch, torchvision; "
    assert (
        python(after + "from torchvision.transforms import v2; print(v2.functional.hflip(torch.eye(2)))").returncode
        == 0
    )
    assert python("import cftransfer.models.population, torchmetrics, pytorch_lightning").returncode == 0
    called = python(after + "torchvision.ops.nms(torch.rand(2, 4), torch.rand(2), 0.5)")
    assert called.returncode == 1  # declared, not made up


def test_a_wheel_without_its_operators_is_repaired(tmp_path):
    content = f"import torch\ntry:\n    torch.ops.torchvision.nms\nexcept AttributeError:\n    {NMS_MISSING}\n"
    done = python(REPAIR, PYTHONPATH=install(tmp_path, content))
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout


def test_a_working_install_is_left_alone(tmp_path):
    content = "count = globals().get('count', 0) + 1\n"
    check = (
        "; import torch, torchvision; assert torchvision.count == 1; assert not hasattr(torch.ops.torchvision, 'nms')"
    )
    done = python(REPAIR + check, PYTHONPATH=install(tmp_path, content))
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == "False"


def test_another_fault_stays_what_it_is(tmp_path):
    done = python(REPAIR, PYTHONPATH=install(tmp_path, "raise RuntimeError('something else')"))
    assert done.returncode == 1
    assert "something else" in done.stderr


def test_without_torchvision_nothing_happens():
    hide = "import sys; sys.modules['torchvision'] = None\nimport importlib.util as u; f = u.find_spec\n"
    hide += "u.find_spec = lambda name, *rest: None if name == 'torchvision' else f(name, *rest)\n"
    done = python(hide + "from cftransfer.models.torchvision_repair import repair; print(repair())")
    assert done.stdout.strip() == "False", done.stderr
