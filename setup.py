"""Build of the three import packages; all metadata stands in pyproject.toml.

Two things pyproject can't say: the widgets' JavaScript is bundled by a command of its own at the head of the build
(a customised build_py would hide its errors in editable installs), and Jupyter finds the server extension by data
files, which an editable install lays only if the Distribution answers ``has_data``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from setuptools import Command, Distribution, setup
from setuptools.command.build import build

ROOT = Path(__file__).parent
STATIC = ROOT / "widgets" / "octopus_widgets" / "static"


class BundleWidgets(Command):
    """Bundle widgets/src with esbuild into widgets/octopus_widgets/static; an sdist carries the bundles already."""

    description = "bundle the widgets' JavaScript"
    user_options: list[tuple[str, str | None, str]] = []

    def initialize_options(self) -> None:
        """Nothing to set."""

    def finalize_options(self) -> None:
        """Nothing to check."""

    def run(self) -> None:
        """Run the bundler, or use bundles that are there when there is no Node."""
        bundles = list(STATIC.glob("*.js"))
        node = shutil.which("node", path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]))
        if (bundles and not (ROOT / ".git").exists()) or (bundles and not node):
            return
        if not node or not (ROOT / "widgets" / "package.json").exists():
            print("octopus-hub: no Node found; the widgets are left out and job views are text and HTML", file=sys.stderr)
            return
        subprocess.run([sys.executable, str(ROOT / "widgets" / "bundle.py")], check=True, cwd=ROOT)


class Build(build):
    """Build with the bundles first."""

    sub_commands = [("bundle_widgets", None), *build.sub_commands]


class JupyterDistribution(Distribution):
    """A distribution with data files, in editable installs as well."""

    def has_data_files(self) -> bool:
        """Lay Jupyter's configuration files always."""
        return True


setup(
    packages=[
        *(name for name in __import__("setuptools").find_packages(str(ROOT), include=["octopus_hub*"])),
        "octopus_widgets",
        "octopus_hub_extension",
    ],
    package_dir={
        "octopus_widgets": "widgets/octopus_widgets",
        "octopus_hub_extension": "extension/octopus_hub_extension",
    },
    package_data={
        "octopus_hub": ["py.typed", "plugins/**/*.yaml", "**/*.sql"],
        "octopus_widgets": ["py.typed", "static/*"],
        "octopus_hub_extension": ["py.typed"],
    },
    data_files=[("etc/jupyter/jupyter_server_config.d", ["extension/octopus_hub_extension.json"])],
    cmdclass={"bundle_widgets": BundleWidgets, "build": Build},
    distclass=JupyterDistribution,
)
