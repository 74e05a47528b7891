"""A store at a URL, through a copy on this machine of what it has touched: all else sees an ordinary folder.

URL/runs/<run>/FILES, done      as in any store; `done` is put last, and a run is done when it is there
URL/runs/<run>/checkpoint-*     of an unfinished run: it goes on from there on any machine
URL/running                     who trains, see `studies.claim`

Logs, teachers' signals and analyses stay on the machine that made them: they are made again where they are needed.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distillbias.data.files import cache_folder
from distillbias.errors import InputError
from distillbias.studies.claim import Claim
from distillbias.studies.files import clear_errors, write_json, write_whole
from distillbias.studies.objects import Objects
from distillbias.studies.record import RECORD, WEIGHTS, Record
from distillbias.studies.run import Run
from distillbias.studies.store import CHECKPOINT, DONE, Store

CLAIM = ".claim"
DOUBT = ".doubt"  # in the copy of a run of which something was damaged there
Sums = dict[str, str]


def copies(url: str) -> Path:
    """Where this machine keeps its copy: below $DISTILLBIAS_CACHE, else ~/.cache/distillbias."""
    return cache_folder() / "stores" / hashlib.sha256(url.encode()).hexdigest()[:16]


class RemoteStore(Store):
    """What is there is looked up once, and again for one run when it has `arrived`; a store opened anew sees all."""

    def __init__(self, url: str):
        self.objects = Objects(url)
        super().__init__(copies(self.objects.url))
        self.where = self.objects.url
        self.sizes: dict[str, int] = {}  # {runs/<run>/<file>: bytes} of what is there, as far as it was looked up
        self.marks: dict[str, Sums] = {}  # {run that is done: {file: SHA-256}}
        self.listed = False
        self.read: set[str] = set()  # objects that were found to be what was written
        self.claim: Claim | None = None

    @property
    def reports(self) -> Path:
        return Path("reports")

    # --- what is done

    def done(self, run: Run) -> bool:
        if run.name not in self.marks and not self.listed:
            self._look()
        return run.name in self.marks

    def finished(self) -> list[str]:
        if not self.listed:
            self._look()
        return sorted(self.marks)

    def arrived(self, run: Run) -> bool:
        if self.claim:
            self.claim.check()
        self._look(run.name)
        return run.name in self.marks

    def has_weights(self, run: Run) -> bool:
        return self.done(run) and WEIGHTS in self.marks[run.name]

    def has(self, run: Run, file: str) -> bool:
        return f"runs/{run.name}/{file}" in self.sizes

    def _look(self, name: str | None = None) -> None:
        """Look up what is there, of one run or of all."""
        found = self.objects.sizes("runs" if name is None else f"runs/{name}")
        marks = self.objects.get_all(each for each in found if re.fullmatch(f"runs/[0-9a-f]+/{DONE}", each))
        read = {each.split("/")[1]: sums for each, content in marks.items() if (sums := whole_mark(content))}
        if name is None:
            self.sizes, self.marks, self.listed = found, read, True
        else:
            others = {each: size for each, size in self.sizes.items() if not each.startswith(f"runs/{name}/")}
            self.sizes = others | found
            self.marks = {each: sums for each, sums in self.marks.items() if each != name} | read

    # --- from there to here

    def _open(self, name: str) -> Record:
        if bad := self._bring(name):
            what = f"{', '.join(bad)} in {self.where}/runs/{name}"
            raise InputError(f"{what} is not what was written; `distillbias run` trains the run again")
        return super()._open(name)

    def damaged(self, run: Run, far: bool = False) -> list[str]:
        """What is not here is fetched, what is here is compared with its checksum and, by size, with what is there.

        Damage that was found by reading `far` is found by the next call without it, too.
        """
        if not self.done(run):
            return [DONE]
        bad, doubt = set(self._bring(run.name, check=True)), self.folder(run) / DOUBT
        far = far or doubt.exists()
        for file, digest in self.marks[run.name].items():
            name = f"runs/{run.name}/{file}"
            if file not in bad and (
                self.sizes.get(name) != (self.folder(run) / file).stat().st_size
                or (far and not self._sound(name, digest))
            ):
                bad.add(file)
        if far and bad:
            doubt.touch()
        elif far:
            doubt.unlink(missing_ok=True)
        return [file for file in self.marks[run.name] if file in bad]

    def _bring(self, name: str, check: bool = False) -> list[str]:
        """Have a run that is done there here, too; return the files that are not there as they were written.

        `check` looks at the bytes of what is here already.
        """
        folder, sums = self.root / "runs" / name, self.marks[name]
        if not check and self._mark_here(folder) == sums:
            return []
        with self.lock("fetch"):
            with clear_errors(self.root):
                folder.mkdir(exist_ok=True)
            lacking = self.damaged_files(folder, sums)
            if not lacking and self._mark_here(folder) == sums:
                return []
            (folder / DONE).unlink(missing_ok=True)
            bad = [file for file in lacking if not self._fetch(f"runs/{name}/{file}", sums[file])]
            if not bad:
                write_json(folder / DONE, sums)
        return bad

    def _fetch(self, name: str, digest: str) -> bool:
        content = self._content(name, digest)
        if content is None:
            return False
        _write(self.root / name, content)
        return True

    def _sound(self, name: str, digest: str) -> bool:
        return name in self.read or self._content(name, digest) is not None

    def _content(self, name: str, digest: str) -> bytes | None:
        """The content of an object if it is what was written."""
        for _ in range(2):  # once more: it may have been damaged on its way
            content = self.objects.get(name)
            if content is not None and hashlib.sha256(content).hexdigest() == digest:
                self.read.add(name)
                return content
        return None

    @staticmethod
    def _mark_here(folder: Path) -> Sums | None:
        try:
            return whole_mark((folder / DONE).read_bytes())
        except OSError:
            return None

    # --- from here to there

    def start(self, run: Run) -> Path:
        """As in any store; checkpoints that are there and newer than those that are here are fetched."""
        for each in filter(None, (run, run.teacher)):  # the teacher may have arrived since
            self._look(each.name)
        if self.has(run, DONE):
            self._unmark(run.name)
        folder = super().start(run)
        newest = max((path.name for path in folder.glob(f"{CHECKPOINT}*")), default="")
        for file in self._checkpoints(run.name):
            content = self.objects.get(f"runs/{run.name}/{file}") if file > newest else None
            if content is not None:
                _write(folder / file, content)
        return folder

    def finish(self, run: Run) -> None:
        """Seal it here, put its files there, and then its mark."""
        super().finish(run)
        self._put_run(run.name)

    def reopen(self, run: Run) -> None:
        """Take its mark away, there first. A copy here that is whole stays: the next `sweep` puts it there again."""
        self._unmark(run.name)
        if super().damaged(run):
            super().reopen(run)

    def sweep(self) -> None:
        """Put there what is finished here only, and remove checkpoints of what is done."""
        super().sweep()
        self._look()
        for mark in sorted(self.root.glob(f"runs/*/{DONE}")):
            folder = mark.parent
            if folder.name in self.marks:
                continue
            sums = self._mark_here(folder)
            if sums and not self.damaged_files(folder, sums):
                self._put_run(folder.name)
            else:
                mark.unlink()
        for name in self.marks:
            self._remove_checkpoints(name)

    def keep_checkpoints(self, run: Run) -> None:
        """Have the checkpoints there that are here. If nobody answers, training goes on: the next one comes soon."""
        here = {path.name for path in self.folder(run).glob(f"{CHECKPOINT}*")}
        there = set(self._checkpoints(run.name))
        try:
            for file in sorted(here - there):
                self._put(f"runs/{run.name}/{file}", (self.folder(run) / file).read_bytes(), patient=False)
            for file in there - here:
                self._remove(f"runs/{run.name}/{file}", patient=False)
        except InputError as error:
            print(f"a checkpoint stays on this machine: {error}", flush=True)  # into the run's log

    def _put_run(self, name: str) -> None:
        folder = self.root / "runs" / name
        sums = json.loads((folder / DONE).read_text())
        for file, digest in sums.items():
            content = (folder / file).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise InputError(f"{folder / file} changed while it was put to {self.where}; run again")
            self._put(f"runs/{name}/{file}", content)
        self._put(f"runs/{name}/{DONE}", (folder / DONE).read_bytes())
        self.marks[name] = sums
        self._remove_checkpoints(name)

    def _unmark(self, name: str) -> None:
        self._remove(f"runs/{name}/{DONE}")
        self.marks.pop(name, None)

    def _checkpoints(self, name: str) -> list[str]:
        """Those that are there, oldest first."""
        found = [re.fullmatch(rf"runs/{name}/({CHECKPOINT}\d+)", each) for each in self.sizes]
        return sorted(match[1] for match in found if match)

    def _remove_checkpoints(self, name: str) -> None:
        for file in self._checkpoints(name):
            self._remove(f"runs/{name}/{file}")

    def _put(self, name: str, content: bytes, patient: bool = True) -> None:
        self.objects.put(name, content, patient=patient)
        self.sizes[name] = len(content)
        self.read.discard(name)

    def _remove(self, name: str, patient: bool = True) -> None:
        self.objects.remove(name, patient=patient)
        self.sizes.pop(name, None)

    # --- who trains

    @contextmanager
    def alone(self) -> Iterator[None]:
        with super().alone():
            self.claim = Claim(self.objects, self.root / CLAIM)
            try:
                with self.claim.held():
                    yield
            finally:
                self.claim = None

    @contextmanager
    def marked(self) -> Iterator[str]:
        with super().marked() as mark:
            self.objects.put(mark, b"")
            try:
                yield mark
            finally:
                self.objects.remove(mark)

    def sees(self, mark: str) -> bool:
        return self.objects.get(mark) is not None


def _write(path: Path, content: bytes) -> None:
    write_whole(path, lambda part: part.write_bytes(content))


def whole_mark(content: bytes) -> Sums | None:
    """The checksums of a run's mark; None if it is cut, as it may be found where objects are plain files."""
    try:
        sums = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not isinstance(sums, dict) or RECORD not in sums:
        return None
    plain = all(
        Path(file).name == file and not file.startswith(".") and isinstance(digest, str)
        for file, digest in sums.items()
    )
    return sums if plain else None
