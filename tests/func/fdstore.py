# SPDX-License-Identifier: LGPL-2.1-or-later
"""What systemd does with data/vhostmd.service.in:
fdstore.py SOCKET MOUNT SERVICE_PROGRAM...

Before each start it runs the program with --mount-only alone, then as it is, with what is stored:
again when it was killed or failed, after all its processes have ended, but not more than 5 times
within 10 s, unless there is FDSTORE_ANY in the environment.  When it has failed MOUNT is unmounted.
SIGTERM ends it.  The names of what is stored are in the file that FDSTORE_SAYS names.
"""
import array
import ctypes
import fcntl
import os
import select
import signal
import socket
import subprocess
import sys
import time

LONGEST = 5  # that it waits for processes that do not end: TimeoutStopSec=
mount, program = sys.argv[2], sys.argv[3:]
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(sys.argv[1])
notify.settimeout(0.005)
stored = {}
service = 0
told_to_end = False


def take_message():
    data, control, _, _ = notify.recvmsg(4096, socket.CMSG_SPACE(64))
    fields = dict(line.split("=", 1) for line in data.decode().strip().split("\n"))
    fds = array.array("i")
    for _, _, raw in control:
        fds.frombytes(raw)
    if "FDSTORE" in fields:
        stored[fields["FDNAME"]] = fds[0]
        return
    if "FDSTOREREMOVE" in fields and fields["FDNAME"] in stored:
        os.close(stored.pop(fields["FDNAME"]))
    for fd in fds:  # of a barrier
        os.close(fd)


def let_go():
    """Of connections that are over; and says what is stored."""
    over = select.poll()
    for fd in stored.values():
        over.register(fd, 0)
    gone = [fd for fd, _ in over.poll(0)]
    for name in [name for name, fd in stored.items() if fd in gone and name != "fuse"]:
        os.close(stored.pop(name))
    names = " ".join(stored)
    if names != let_go.said and "FDSTORE_SAYS" in os.environ:
        with open(os.environ["FDSTORE_SAYS"], "w", encoding="ascii") as f:
            print(names, file=f)
    let_go.said = names


let_go.said = None


def become(program, pass_stored):
    os.setsid()
    names = list(stored) if pass_stored else []
    high = [fcntl.fcntl(stored[name], fcntl.F_DUPFD, 100) for name in names]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i)
    os.closerange(3 + len(names), 200)
    os.environ["NOTIFY_SOCKET"] = sys.argv[1]
    if names:
        os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(names)),
                          LISTEN_FDNAMES=":".join(names))
    os.execvp(program[0], program)


def reap():
    """What the service leaves becomes our child."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass


def run(program, pass_stored):
    """Return: its status as of wait()."""
    global service
    pid = os.fork()
    if pid == 0:
        become(program, pass_stored)
    service = pid
    while True:
        try:
            take_message()
        except TimeoutError:
            let_go()
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            break
    service = 0
    try:
        while True:  # what it said last
            take_message()
    except TimeoutError:
        pass
    try:
        for number in signal.SIGTERM, signal.SIGKILL:
            os.killpg(pid, number)
            until = time.monotonic() + LONGEST
            while time.monotonic() < until:
                reap()
                os.killpg(pid, 0)
                time.sleep(0.005)
            print("fdstore: processes do not end by signal %d" % number, file=sys.stderr)
    except ProcessLookupError:
        pass
    return status


def end(*_):
    global told_to_end
    told_to_end = True
    try:
        if service:
            os.kill(service, signal.SIGTERM)
    except ProcessLookupError:
        pass  # it has ended just now


signal.signal(signal.SIGTERM, end)
ctypes.CDLL(None).prctl(36, 1)  # PR_SET_CHILD_SUBREAPER
starts = []
while not told_to_end:
    now = time.monotonic()
    starts = [t for t in starts if t > now - 10] + [now]
    if len(starts) > 5 and "FDSTORE_ANY" not in os.environ:
        print("fdstore: start limit", file=sys.stderr)
        sys.exit(1)
    if run([program[0], "--mount-only", "--mount", mount], False) != 0:
        continue
    result = run(program, True)
    if os.WIFEXITED(result) and os.WEXITSTATUS(result) == 0:
        break
    if os.WIFEXITED(result):
        subprocess.run(["umount", "--force", "--lazy", mount], check=False)
