"""Runs the tests of every source and every identity on one world, then looks for the secrets that they planted."""

import os
import sys

import canaries
import canary
import credential_service
import harness
import hostile
import rows
import s3
from sources_world import SourcesWorld
from world import run_test, run_tests

# One line for each; a module registers its tests by importing harness.test.
MODULES = (
    "test_bench",
    "rows",  # of the integration suite
    "test_s3",
    "test_listing",
    "test_aws",
    "test_identity",
    "test_s3_stated",
    "test_https",
    "test_bulk",
    "test_prefixes",
    "test_authorised",
    "test_azure_client",
    "test_azure",
    "test_google",
    "test_private_endpoints",
    "test_azure_prefix",
    "test_canary",
)

# Secrets that tests of the integration suite have always used.
CONSTANTS = {"aws-secret-key": s3.SECRET_KEY, "basic-password": "swordfish", "service-account-token": "token-of-the-pod",
             "presigned-signature": "signature-of-a-url", "body-of-an-error": hostile.SECRET_BODY.decode()}


def no_complaints(_):
    """A request that no protocol has, and that no test made on purpose."""
    found = [text for service in credential_service.Service.everyone for text in service.complaints]
    harness.need(not found, f"{len(found)} requests are none of the protocol: {'; '.join(found[:5])}")


def run_all(world, words):
    chosen = [entry for entry in harness.TESTS if not words or any(word in entry[0] for word in words)]
    watch = canary.Canary(world)
    for kind, text in CONSTANTS.items():
        canaries.add(kind, text)
    results = run_tests(world, chosen)
    watch.while_running()
    rows.print_answers(chosen)
    results.append(run_test(world, "bench complaints", no_complaints))
    world.node.stop()
    world.controller.stop()
    watch.afterwards()
    results.append(run_test(world, "canary not-one", watch.not_one))
    if os.environ.get("SC_KEEP"):
        harness.log(world.node.log()[-20000:])
    world.stop()
    return results


harness.suite("sources", MODULES, lambda: run_all(SourcesWorld(), sys.argv[1:]))
