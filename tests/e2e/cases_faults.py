"""What people see when it does not work, and while it takes long."""

import errno
import re
import time

import idmap
from harness import KUBELET, mounts, need, noise, test, wait_until
from cases_volumes import SUM, sums


@test("source-that-says-403")
def forbidden(world, case):
    url = world.nginx.url("auth/secret.bin?token=swordfish")
    world.file("auth/secret.bin", b"secret")
    case.pod("pod", "true", case.inline(url))
    message = case.wait_message("pod", r"FailedMount.*input 1")
    need("401" in message or "403" in message, message)
    need("swordfish" not in message and "auth/secret.bin" in message, message)
    need(case.phase("pod") == "Pending", case.phase("pod"))
    case.delete_pod("pod")


@test("class-that-forbids-loopback")
def strict(world, case):
    case.pod("pod", "true", case.inline(world.file("strict/data", b"x"), "strict"))
    message = case.wait_message("pod", r"FailedMount.*input 1")
    need("allowedAddresses" in message, message)
    case.delete_pod("pod")


@test("class-that-is-not-there")
def no_class(world, case):
    case.pod("pod", "true", case.inline(world.file("strict/data", b"x"), "nowhere"))
    case.wait_message("pod", r"FailedMount.*StorageClass 'nowhere' does not exist")
    case.delete_pod("pod")


@test("fill-that-takes-minutes")
def long_fill(world, case):
    data = noise("long", 16 << 20)
    url = world.file("slow/long.bin", data)
    started = time.monotonic()
    case.pod("pod", SUM, case.inline(url))
    case.wait_message("pod", r"cached \d+\.\d+ of 16\.0 MiB \(\d+ percent\)", 130)
    case.wait_phase("pod", "Succeeded", "Failed", seconds=240)
    need(case.logs("pod") == sums({"long.bin": data}), case.logs("pod"))
    took = time.monotonic() - started
    need(took > 120, f"it took {took:.0f} s: this proves nothing")
    world.downloaded_once("slow/long.bin", len(data))
    # Many kubelets, 1.34 among them, take a message for a format: a percent sign comes out as rubbish.
    need(not [text for text in case.messages("pod") if "%!" in text], case.messages("pod"))
    # Beside kubelet's own events, which come every two minutes, there are the plugin's.
    progress = [text for text in case.messages("pod") if re.search(r"InputCopying: cached .* of 16\.0 MiB", text)]
    need(progress, case.messages("pod"))
    case.wait_message("pod", r"InputReady: .* after 2 min .*: 16\.0 MiB downloaded")


@test("pods-deleted-during-a-fill")
def deleted(world, case):
    data = noise("deleted", 3 << 20)
    url = world.file("slow/deleted.bin", data)
    for name in ("one", "two"):
        case.pod(name, SUM, case.inline(url))
    wait_until(lambda: world.nginx.exchanges("/slow/deleted.bin"), 60, "the origin is asked")
    # The pods go at once. Their directories go when kubelet's call has come back: it cancels none.
    for name in ("one", "two"):
        case.delete_pod(name, seconds=150)
    # The work was not lost: what comes next goes on with it.
    need(case.run("three", SUM, case.inline(url), seconds=150) == sums({"deleted.bin": data}), "contents")
    case.delete_pod("three")


@test("namespace-deleted-under-running-pods")
def namespace(world, case):
    data = noise("namespace", 100000)
    url = world.file("namespace/data", data)
    names = [f"pod-{number}" for number in range(4)]
    for name in names:
        case.pod(name, "sleep 3600", case.inline(url))
    for name in names:
        case.wait_phase(name, "Running")
    uids = [case.uid(name) for name in names]
    case.delete()
    wait_until(lambda: not any((KUBELET / "pods" / uid).exists() for uid in uids), 60, "the pods' directories go")
    need(not [each for uid in uids for each in mounts(KUBELET / "pods" / uid)], "mounts of deleted pods")


@test("pod-with-user-namespace")
def user_namespace(world, case):
    """containerd 1.6 knows no user namespaces. What a newer runtime would meet is asked of the kernel itself."""
    data = noise("userns", 1000)
    url = world.file("userns/data", data)
    case.pod("pod", SUM, case.inline(url), hostUsers=False)
    message = case.wait_message("pod", r"Failed.*(user ?namespace|idmap|UserNamespace)")
    need(case.phase("pod") == "Pending", message)
    world.notes.append(f"hostUsers: false, containerd 1.6: {message[:300]}")
    case.delete_pod("pod")
    case.start("other", "sleep 3600", case.inline(url))
    [(view, _)] = mounts(KUBELET / "pods" / case.uid("other"), "overlay")
    need(idmap.errno_of_mapping(KUBELET / "pods") == 0, "an ordinary directory cannot be mapped to other users, either")
    # Row hostUsers of docs/TROUBLESHOOTING.md. Should a kernel learn it, this fails: say so there.
    need(idmap.errno_of_mapping(view) == errno.EINVAL, f"mapping a view: errno {idmap.errno_of_mapping(view)}")
    case.delete_pod("other")


@test("no-secret-in-logs", phase="alone")
def no_secret(world, case):
    """After all that failed above, and one more of which the log must tell without its query."""
    case.pod("pod", "true", case.inline(world.nginx.url("auth/told.bin?token=swordfish")))
    case.wait_message("pod", r"FailedMount.*input 1")
    text = world.log_of_plugin()
    need("auth/told.bin" in text, "the plugin's log does not tell of it")
    for secret in ("swordfish", "test/secret+key"):
        need(secret not in text, f"'{secret[:5]}...' in the plugin's log")
    case.delete_pod("pod")
