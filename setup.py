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
from setuptools.command.sdist import sdist

ROOT = Path(__file__).parent
STATIC = ROOT / "widgets" / "octopus_widgets" / "static"


class BundleWidgets(Command):
    """Bundle widgets/src with esbuild into widgets/octopus_widgets/static; an sdist carries the bundles already."""

    description = "bundle the widgets' JavaScript"
    user_options: list[tuple[str, str | None, str]] = []

    def initialize_options(self) -> None:
        """Set by setuptools for an editable install."""
        self.editable_mode = False

    def finalize_options(self) -> None:
        """Nothing to check."""

    def run(self) -> None:
        """Run the bundler, or use bundles that are there when there is no Node."""
        bundles = list(STATIC.glob("*.js"))
        node = shutil.which("node", path=os.pathsep.join([str(Path(sys.prefix) / "bin"), os.environ.get("PATH", "")]))
        if (bundles and not (ROOT / ".git").exists()) or (bundles and not node):
            return
        if not node or not (ROOT / "widgets" / "package.json").exists():
            self.warn("no Node found; the widgets are left out and job views are text and HTML")
            return
        done = subprocess.run([sys.executable, str(ROOT / "widgets" / "bundle.py")], cwd=ROOT)
        if done.returncode and not self.editable_mode:
            raise SystemExit("octopus-hub: the widgets could not be bundled (see above); nothing was built")
        if done.returncode:  # in a working tree, bundling is a step of its own and need not work yet
            self.warn("the widgets could not be bundled (see above); `python widgets/bundle.py` tries again")


class Build(build):
    """Build with the bundles first."""

    sub_commands = [("bundle_widgets", None), *build.sub_commands]


class SourceDistribution(sdist):
    """A source distribution with the bundles inside, so that wheels are built from it without Node."""

    def run(self) -> None:
        """Bundle, then collect the files."""
        self.run_command("bundle_widgets")
        super().run()


class JupyterDistribution(Distribution):
    """A distribution with data files, in editable installs as well: setuptools asks ``has_data`` there and only there."""

    def has_data(self) -> bool:
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
    cmdclass={"bundle_widgets": BundleWidgets, "build": Build, "sdist": SourceDistribution},
    distclass=JupyterDistribution,
)
