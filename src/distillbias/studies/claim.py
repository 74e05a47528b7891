"""Who trains in a store at a URL: one command, from whatever machine. No clock but one's own is trusted."""

import json
import os
import platform
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from distillbias.errors import InputError
from distillbias.studies.files import write_whole
from distillbias.studies.objects import Objects

RUNNING = "running"
BEAT = 5.0  # seconds from one writing of the object to the next
PATIENCE = 8  # beats without a change after which its writer is taken for dead


class Claim:
    """An object with a random token that its owner writes anew, with another number, at every beat.

    A newcomer who finds one watches it: if it changes he is refused, if not he takes it over. On S3 a claim is made in
    one step, so two newcomers never both begin. Where it is not, and in the moment of a takeover, the later one may
    write over the earlier: the earlier finds another's token at its next beat and ends when its next run does.
    Results are safe even then: a run whose files were written by both does not match its mark and is trained again.

    `kept` is a file of this machine with the last token from here: its owner is dead if we, who hold the lock of this
    machine, find it there, and nobody waits for him.
    """

    def __init__(self, objects: Objects, kept: Path):
        self.objects, self.kept = objects, kept
        self.token, self.beat = uuid4().hex, 0
        self.taken: str | None = None  # by whom

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold it, or be refused with one line that says who does."""
        dead = self.kept.read_text() if self.kept.exists() else None
        write_whole(self.kept, lambda part: part.write_text(self.token))
        self._take(dead)
        ended = threading.Event()
        beats = threading.Thread(target=self._beat_until, args=(ended,), daemon=True)
        beats.start()
        try:
            yield
        finally:
            ended.set()
            beats.join()
            self._leave()

    def check(self) -> None:
        """Refuse to go on if somebody else took it."""
        if self.taken is not None:
            raise InputError(
                f"{self.taken} took over {self.objects.url}, because this command had not been heard of for "
                f"{BEAT * PATIENCE:.0f} s; what is finished is kept"
            )

    def _take(self, dead: str | None) -> None:
        while (found := self.objects.get(RUNNING)) is None or self._token(found) != self.token:
            if found is None:
                try:
                    self.objects.put(RUNNING, self._content(), new=True)
                except FileExistsError:
                    pass  # somebody was faster, or our first try arrived although its answer did not
            elif self._token(found) == dead or self._silent(found):
                self.objects.remove(RUNNING)
                try:
                    self.objects.put(RUNNING, self._content(), new=True)
                except FileExistsError:
                    continue
                if self._token(found) != dead:
                    time.sleep(BEAT)  # who took it for dead at the same time may remove ours: who is left has it

    def _silent(self, found: bytes) -> bool:
        """Whether nobody writes it and it stays; raises if somebody does."""
        for _ in range(PATIENCE):
            time.sleep(BEAT)
            now = self.objects.get(RUNNING)
            if now is None:
                return False
            if now != found:
                raise InputError(f"{_who(now)} already trains in {self.objects.url}; wait, or choose another --store")
        return True

    def _beat_until(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT):
            try:
                found = self.objects.get(RUNNING, patient=False)
                if found is not None and self._token(found) != self.token:
                    self.taken = _who(found)
                    return
                self.beat += 1
                self.objects.put(RUNNING, self._content(), new=found is None, patient=False)
            except (InputError, FileExistsError):
                continue  # nobody answers, or another was faster: the next beat tells

    def _leave(self) -> None:
        try:
            found = self.objects.get(RUNNING, patient=False)
            if found is not None and self._token(found) == self.token:
                self.objects.remove(RUNNING, patient=False)
        except InputError:
            pass  # the next command from here takes it over at once, others after a while

    def _content(self) -> bytes:
        who = f"process {os.getpid()} on {platform.node()}"
        return json.dumps({"token": self.token, "who": who, "beat": self.beat}).encode()

    @staticmethod
    def _token(content: bytes) -> str:
        return _read(content, "token")


def _who(content: bytes) -> str:
    return _read(content, "who") or "another command"


def _read(content: bytes, what: str) -> str:
    """Empty if the object is cut, as it may be found where objects are plain files."""
    try:
        return str(json.loads(content)[what])
    except (ValueError, LookupError, TypeError, RecursionError):
        return ""
