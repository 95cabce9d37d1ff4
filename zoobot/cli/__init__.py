"""The `zoobot` command: parses, loads one engine by way of the workflow, and says what came out.

Heavy imports stand inside the commands, so that help answers at once. An error that Zoobot raises on purpose
is one line and exit code 2; any other keeps its traceback.
"""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from zoobot.cli.config_files import read_config_file, write_config
from zoobot.cli.parser import COMMANDS, build_parser
from zoobot.shared.errors import ZoobotError
from zoobot.shared.settings import kinds_of
from zoobot.shared.speech import hear_progress, speak_of, spoken

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zoobot.options.command import Command

__all__ = ["main", "main_exit"]


def main_exit() -> None:
    """Run the command line and leave with its exit code: the entry point of the installed command."""
    # a notebook tells the commands that it starts to draw into itself, which another process can't
    os.environ["MPLBACKEND"] = "agg"
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # what a terminal has no sign for must not end a run
            stream.reconfigure(errors="replace")
    raise SystemExit(main())


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 2 an error to act on, 130 or 143 interrupted.

    Args:
        argv: The words after `zoobot`; by default those of the process.

    Example:
        >>> main(["schemas", "gz_rings"])  # doctest: +SKIP
        0
    """
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    given = vars(parser.parse_args(words))
    shell, name = given.pop("print_completion"), given.pop("command", None)
    if shell is not None:
        import shtab  # late: nothing else needs it

        say(shtab.complete(build_parser(for_shells=True), shell))
        return 0
    if name is None:
        parser.print_help()
        return 0
    hear_progress()
    command = COMMANDS[name]
    speak_of(command.options)
    before = _hear_polite_kills()
    try:
        _run(command, given, f"zoobot {shlex.join(words)}")
    except ZoobotError as error:
        sys.stderr.write(f"zoobot: error: {spoken(str(error))}\n")
        return 2
    except (KeyboardInterrupt, SystemExit) as ending:
        sys.stderr.write(f"\nzoobot: interrupted. {_how_to_go_on(command, given)}\n")
        return _exit_code(ending)
    except BrokenPipeError:
        # the reader, such as `head`, has had enough; what is still buffered must go somewhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    finally:
        speak_of(None)
        if before is not None:
            signal.signal(signal.SIGTERM, before)
    return 0


def _run(command: Command, given: dict[str, Any], typed: str) -> None:
    """Run a command with what was given, and say what came out."""
    file, prints = given.pop("config", None), given.pop("print_config", False)
    chosen = command.read(given)
    if file is not None:
        chosen = {**read_config_file(file, command), **chosen}
    given.update(chosen)  # an interruption says by it how to go on
    if prints:
        say(write_config(command, chosen))
        return
    from zoobot.front.verbs import work_of  # late: help need not wait for it

    _, result = work_of(command, chosen, typed)
    if result is not None:  # of a run on many devices, the first process speaks
        say(result.report())


def say(text: str) -> None:
    """Print a text to standard output."""
    sys.stdout.write(f"{text}\n")


def _hear_polite_kills() -> Any:
    """End at SIGTERM as at Ctrl-C: what was begun is taken back, workers and jobs that were started end.

    Returns:
        What heard the signal before; None where it is left to that: to who ignores it, or another thread.
    """
    before = signal.getsignal(signal.SIGTERM)
    if before != signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _exit_code(ending: KeyboardInterrupt | SystemExit) -> int:
    """What a shell expects: 130 after Ctrl-C, 143 after a polite kill, as batch systems send it."""
    if isinstance(ending, KeyboardInterrupt):
        return 128 + signal.SIGINT
    return ending.code if isinstance(ending.code, int) and ending.code else 128 + signal.SIGTERM


def _how_to_go_on(command: Command, given: dict[str, Any]) -> str:
    resumes = "resume" in kinds_of(command.options)
    if resumes and (Path(given.get("save_dir", "")) / "run.json").is_file():
        return f"Go on with: zoobot {command.name} --resume --save-dir {shlex.quote(given['save_dir'])}"
    return "Nothing half-written is left; give the same command again"
