"""Runs the tests of the chart: those that need no cluster, then those against one control plane."""

import sys

import harness

sys.path.insert(0, str(harness.ROOT / "tests/cluster"))

# Each registers its tests.
import rows_render  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_refuse  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_words  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_alerts  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_api  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_rights  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
import rows_provision  # noqa: E402,F401 pylint: disable=unused-import,wrong-import-position
from control_plane import ControlPlane  # noqa: E402 pylint: disable=wrong-import-position


def main():
    with ControlPlane(harness.WORK / "plane") as plane:
        passed, failed = harness.run_tests(plane)
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed or not passed else 0)


main()
