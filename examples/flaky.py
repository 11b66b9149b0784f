"""A step that fails now and then is tried again: by default up to three times within one run.

`Download` fails twice and then works. The run says that it retries, and ends well. With
`FURU_MAX_COMPUTE_RETRIES=1` the run ends in an error instead, which names the step, the last line of
its exception, and its log.
"""

from __future__ import annotations

from furu_core import Furu
from furu_core.errors import FuruRunError
from furu_local import run_local


class Download(Furu[str]):
    address: str

    def _create(self) -> str:
        # A stand-in for a network that recovers: counts its attempts where they survive.
        count = self.checkpoint_dir / "attempts"
        attempt = int(count.read_text()) + 1 if count.exists() else 1
        count.write_text(str(attempt))
        if attempt <= 2:
            raise ConnectionError(f"{self.address} does not answer (attempt {attempt})")
        return f"the page at {self.address}, on attempt {attempt}"


if __name__ == "__main__":
    try:
        (page,) = run_local([Download(address="https://example.org")], max_workers=1).results()
    except FuruRunError as error:
        raise SystemExit(f"error: {error}") from None
    print(page)
