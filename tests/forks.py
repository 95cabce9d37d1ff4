"""Command lines in processes of their own, forked from one that has loaded an engine: each starts at once.

What is killed, interrupted, or works beside others is then the work, not Python's imports. As a script it
loads the engine that it is told, and forks for each request that it reads.
"""

import json
import os
import signal
import subprocess
import sys
import time

#: Elsewhere frameworks don't bear to be forked, and each command line starts anew.
CAN_FORK = sys.platform == "linux"


class Forks:
    """A process that has loaded an engine, and what was forked from it."""

    def __init__(self, engine, folder):
        self._folder, self._count = folder, 0
        if CAN_FORK:
            self._process = subprocess.Popen(
                [sys.executable, __file__, engine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )

    def start(self, words):
        """Begin `zoobot` with these words; the process has what tests need of `subprocess.Popen`."""
        words = [str(word) for word in words]
        if not CAN_FORK:
            return subprocess.Popen(
                [sys.executable, "-m", "zoobot", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                preexec_fn=hear_ctrl_c,  # noqa: PLW1509  it takes no lock
            )
        self._count += 1
        said = [self._folder / f"{self._count}.{stream}" for stream in ("out", "err")]
        return Fork(self, self.ask("start", words=words, said=[str(path) for path in said]), said)

    def ask(self, request, **arguments):
        print(json.dumps([request, arguments]), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self):
        if CAN_FORK:
            self._process.communicate(timeout=60)


class Fork:
    """One of them."""

    def __init__(self, forks, pid, said):
        self.pid, self.returncode = pid, None
        self._forks, self._said = forks, said

    def poll(self):
        if self.returncode is None:
            self.returncode = self._forks.ask("poll", pid=self.pid)
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self, timeout=240):
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(["fork", str(self.pid)], timeout)
            time.sleep(0.01)
        return tuple(path.read_text() for path in self._said)


def hear_ctrl_c():
    """Undo what a child of a background job inherits: to ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def serve(engine):
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints is no answer
    from zoobot import cli, workflow  # noqa: F401  what every command needs
    from zoobot.shared.engine import load_engine

    load_engine(engine)
    for line in sys.stdin:
        request, asked = json.loads(line)
        if request == "poll":
            pid, status = os.waitpid(asked["pid"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork() or work(cli, **asked)
        print(json.dumps(answer), file=answers, flush=True)


def work(cli, words, said):
    """The end of a fork: it does what the command line does, and never returns."""
    for number, path in enumerate(said, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
    hear_ctrl_c()
    sys.argv = ["zoobot", *words]
    code = 1
    try:
        cli.main_exit()
    except SystemExit as ending:
        code = ending.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
