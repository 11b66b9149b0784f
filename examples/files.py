"""A step may write any files: below `self.furu_dir`, where they stay with its result.

Run it twice. The first time says that it writes; both times print the same table of contents. The
paths in the result point into the folder of the result, wherever the store is moved to.
"""

from __future__ import annotations

from pathlib import Path

from furu_core import Furu


class Chapters(Furu[dict[str, Path]]):
    """Writes one file for each chapter; the result says which file holds which."""

    titles: tuple[str, ...]

    def _create(self) -> dict[str, Path]:
        folder = self.furu_dir / "chapters"
        folder.mkdir()
        written = {}
        for number, title in enumerate(self.titles, start=1):
            print(f"writing chapter {number}")
            path = folder / f"{number:02}.txt"
            path.write_text(f"{number}. {title}\n", encoding="utf-8")
            written[title] = path
        return written


class Contents(Furu[str]):
    """Reads the files of another step."""

    chapters: Chapters

    def _create(self) -> str:
        paths = self.chapters.get().values()
        return "".join(path.read_text(encoding="utf-8") for path in paths)


if __name__ == "__main__":
    contents = Contents(chapters=Chapters(titles=("Beginning", "Middle", "End")))
    print(contents.get())
    print(f"The files are in {contents.chapters.furu_dir / 'chapters'}")
