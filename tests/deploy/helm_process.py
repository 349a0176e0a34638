"""Renders the chart with Helm's own code, in a process of its own: a Go runtime has no place in the tests' process.

Reads a JSON list of releases, `{"name", "namespace", "values"}`, and writes a list of `{"templates"}` or `{"refused"}`.
"""

import json
import sys

from helm_python import Chart, HelmError


def main(chart_directory: str) -> None:
    """Renders each release that standard input names."""
    replies: list[dict[str, object]] = []
    with Chart.load(chart_directory) as chart:
        for release in json.load(sys.stdin):
            try:
                rendered = chart.render(release["values"], name=release["name"], namespace=release["namespace"])
                replies.append({"templates": rendered})
            except HelmError as error:
                replies.append({"refused": str(error)})
    json.dump(replies, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
