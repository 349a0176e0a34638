"""What a worker without a cluster does not pay for."""

import subprocess
import sys


def test_kubernetes_is_imported_only_where_it_is_used() -> None:
    """It takes a second and 75 MB."""
    code = "import sys, adapters.driven.actions.runners; print('kubernetes_asyncio' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "False\n"
