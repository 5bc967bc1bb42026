"""Write docs/develop/licences.md: what every package that Tonearm needs is licensed under, by extra.

python tools/licences.py [--sbom FILE]; a CycloneDX list of components is written to the file.
"""

import argparse
import json
import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "develop" / "licences.md"
RUNTIME = ("", "tune", "explore", "mlflow", "serve", "spark")
"""The extras of whoever uses Tonearm; the empty one is what everybody installs."""

HEAD = """# Licences

For whoever ships Tonearm, which is under the Apache License 2.0: what it needs, and what that is licensed under.

`python tools/licences.py` makes this page from what is installed; `make sbom` writes the same as a CycloneDX list.
Nothing of these is part of the wheel. A `report.html` holds Vega, Vega-Lite and Vega-Embed (BSD-3-Clause), which
vl-convert-python brings.

| package | licence | needed by |
|---|---|---|
"""

SPDX = {
    "bsd license": "BSD-3-Clause",
    "mit license": "MIT",
    "apache software license": "Apache-2.0",
    "apache license, version 2.0": "Apache-2.0",
    "apache 2.0": "Apache-2.0",
    "apache license 2.0": "Apache-2.0",
    "the mit license (mit)": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
    "gnu library or lesser general public license (lgpl)": "LGPL-3.0-only",
    "gnu lesser general public license v3 (lgplv3)": "LGPL-3.0-only",
    "isc license (iscl)": "ISC",
    "bsd": "BSD-3-Clause",
    "3-clause bsd license": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
}
"""What packages that name no SPDX expression say, as one."""


def plain(name: str) -> str:
    """A package's name as indexes have it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def needed() -> dict[str, set[str]]:
    """Every package that is installed for the user's extras, with those of ours that bring it, directly or not."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {"": project["dependencies"], **project["optional-dependencies"]}
    found: dict[str, set[str]] = {}
    for extra in RUNTIME:
        waiting = [Requirement(text) for text in extras[extra]]
        while waiting:
            one = waiting.pop()
            if one.marker is not None and not one.marker.evaluate({"extra": ""}):
                continue
            try:
                there = distribution(one.name)
            except PackageNotFoundError:
                continue
            name = plain(one.name)
            if extra not in found.setdefault(name, set()):
                found[name].add(extra)
                waiting += list(_requirements(there, one.extras))
    return dict(sorted(found.items()))


def _requirements(there: Distribution, extras: set[str]) -> Iterator[Requirement]:
    for text in there.requires or ():
        one = Requirement(text)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
            one.marker = None
            yield one


def licence(name: str) -> str:
    """An SPDX expression as far as the package names one."""
    about = distribution(name).metadata
    if "License-Expression" in about:
        return str(about["License-Expression"])
    said = [line.rpartition(" :: ")[2] for line in about.get_all("Classifier", []) if line.startswith("License")]
    said = [one for one in said if one != "OSI Approved"] or [
        "".join(about.get_all("License", [])).strip().partition("\n")[0]
    ]
    return " AND ".join(dict.fromkeys(SPDX.get(one.lower(), one) for one in said)) or "unknown"


def rows() -> list[tuple[str, str, str]]:
    """Each package with its licence and what of ours needs it."""
    return [
        (name, licence(name), "everybody" if "" in extras else ", ".join(f"tonearm[{e}]" for e in sorted(extras)))
        for name, extras in needed().items()
    ]


def page() -> str:
    """The whole page."""
    return HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows())


def sbom() -> dict[str, Any]:
    """The same as CycloneDX 1.6, with the versions that are installed."""
    components = [
        {
            "type": "library",
            "bom-ref": f"pkg:pypi/{name}@{version(name)}",
            "name": name,
            "version": version(name),
            "purl": f"pkg:pypi/{name}@{version(name)}",
            "licenses": [{"license": {"name": said}}],
        }
        for name, said, _ in rows()
    ]
    made = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    about = {"type": "library", "bom-ref": "tonearm", "name": "tonearm", "version": made["version"]}
    about |= {"licenses": [{"expression": made["license"]}]}
    links = [{"ref": "tonearm", "dependsOn": [str(one["bom-ref"]) for one in components]}]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": about},
        "components": components,
        "dependencies": links,
    }


def main() -> None:
    """Write the page, and the list of components where it is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--sbom", type=Path, help="also write a CycloneDX list of components here")
    given = parser.parse_args()
    PAGE.write_text(page(), encoding="utf-8")
    if given.sbom is not None:
        given.sbom.write_text(json.dumps(sbom(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
