"""What a wheel holds."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--wheel-dir", str(folder), "--quiet"]
    subprocess.run(command, check=True)
    [path] = folder.glob("behavesim-*.whl")
    return path


def test_it_ships_every_file_of_conf_and_the_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    conf = {f"behavesim/conf/{path.relative_to(ROOT / 'conf')}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert "behavesim/conf/train.yaml" in conf
    assert conf <= names
    assert "behavesim/reporting/report.html.jinja" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert [name for name in names if name.startswith("hydra_plugins/")] == ["hydra_plugins/behavesim_launcher.py"]
    assert not [name for name in names if name.startswith(("tests/", "data/"))]


def test_it_works_outside_the_checkout(wheel, tmp_path):
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "installed")}
    where = "import behavesim.cli as cli; print(cli.CONF); cli.compose('train', ['debug=fdr']); "
    where += "from hydra_plugins import behavesim_launcher; print(behavesim_launcher.__file__)"
    run = subprocess.run(
        [sys.executable, "-c", where], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    installed = tmp_path / "installed"
    expected = [installed / "behavesim" / "conf", installed / "hydra_plugins" / "behavesim_launcher.py"]
    assert run.stdout.splitlines() == [str(path) for path in expected]
