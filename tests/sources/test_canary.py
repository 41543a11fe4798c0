"""The search for planted secrets finds what it looks for; plugins that die leave no core file."""

import base64
import os
import pathlib
import signal
import subprocess
import urllib.parse

import canaries
import canary
import harness
from harness import Code, Node, expect, need, test, wait_until


@test("canary the-search-finds-each-spelling")
def search(_):
    secret, place = canaries.make("search-test", "/+= %"), harness.WORK / "search"
    (place / "deep").mkdir(parents=True)
    pem = "-----BEGIN X-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSj\n-----END X-----\n"
    known = {each: "s" for text in (secret, pem) for each in canary.spellings(text)}
    need(not canary.in_directory(known, place), "found in nothing")
    leaks = {"plain": secret, "query": urllib.parse.quote(secret, safe=""), "pem": f"x {pem.splitlines()[1]} y",
             **{f"basic{n}": base64.b64encode(b"u" * n + b":" + secret.encode() + b"z" * n).decode() for n in range(3)}}
    for name, text in leaks.items():
        (place / "deep" / name).write_bytes(b"\0" * 5000 + text.encode() + b"\n")
    found = {pathlib.Path(where).name for _, where in canary.in_directory(known, place)}
    need(found == set(leaks), f"found {found}")
    for name in leaks:
        (place / "deep" / name).unlink()
    (place / urllib.parse.quote(secret, safe="")).touch()
    need(len(canary.in_directory(known, place)) == 1, "not found in a name")
    sampler, argument = canary.Sampler(), "not-registered-canary-of-this-test"
    sampler.stop()
    process = subprocess.Popen(["bash", "-c", "read", argument], stdin=subprocess.PIPE)
    # For a moment a program that starts has no command line yet.
    entry = pathlib.Path(f"/proc/{process.pid}")
    wait_until(lambda: (entry / "cmdline").read_bytes(), 20, "a command line")
    sampler.look(entry)
    need(canary.in_data({argument: "s"}, "memory", canary.writable_memory(process.pid)), "not found in the memory of a process that knows it")
    process.communicate()
    need(canary.in_data({argument: "s"}, "command lines", b"\n".join(sampler.command_lines)), "not found in a command line")
    need(not {kind for kind, _ in canary.in_data(canary.patterns(), "x", b"nothing at all")}, "found in nothing")


CORE_WRAP = 'ulimit -c unlimited; cd "$0" && exec "$@"'


def dumped(process):
    """Ends a process with SIGABRT: whether the kernel wrote a core file."""
    process.send_signal(signal.SIGABRT)
    _, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return bool(status & 0x80)


@test("canary no-core-file", exclusive=True)
def no_core(world):
    """A fill is under way, so secrets are in memory, when each process is ended as a crash would end it."""
    place = harness.WORK / "cores"
    place.mkdir(mode=0o777)
    place.chmod(0o777)
    control = subprocess.Popen(["bash", "-c", CORE_WRAP, str(place), "sleep", "600"])
    wait_until(lambda: pathlib.Path(f"/proc/{control.pid}/comm").read_text() == "sleep\n", 20, "sleep")
    possible = dumped(control)
    harness.log(f"# core files are {'possible' if possible else 'not possible'} here; pattern {pathlib.Path('/proc/sys/kernel/core_pattern').read_text().strip()}")
    before = set(place.iterdir())
    password = canaries.make("password-in-a-fill")
    for end in (signal.SIGABRT, signal.SIGQUIT):
        node = Node("core", wrap=("bash", "-c", CORE_WRAP, str(place))).start()
        pod = node.pod("core")
        url = world.hostile.url(f"gate/4000000/core-{end}")
        expect((Code.ABORTED, Code.DEADLINE_EXCEEDED), lambda p=pod, u=url: p.publish(u, secrets={"username": "reader", "password": password}, timeout=3))
        fetcher = node.children()["fetcher"]
        for pid in (node.process.pid, fetcher):
            need(os.stat(f"/proc/{pid}/mem").st_uid == 0, f"process {pid} is dumpable")
        os.kill(fetcher, end)
        wait_until(lambda n=node, f=fetcher: n.children().get("fetcher", f) != f, 20, "another fetcher")
        need(set(place.iterdir()) == before, "a core file of the fetcher")
        if end == signal.SIGABRT:
            need(not dumped(node.process), "a core file of the node")
        else:
            node.process.send_signal(end)
            node.process.wait(20)
        node.channel.close()
        world.hostile.open_gate(f"core-{end}")
        for _, target, *_ in harness.mounts(node.kubelet):
            subprocess.run(["umount", "-l", target], check=False, timeout=60)
    need(set(place.iterdir()) == before and not list(pathlib.Path("/").glob("core*")), f"core files: {set(place.iterdir()) - before}")
