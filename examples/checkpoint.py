"""A long step saves its state in `self.checkpoint_dir`, which survives whatever kills the step.

The first run stops halfway, as if somebody had pulled the plug; run it again and the step goes on
with epoch 6 instead of epoch 1. A third run loads the finished result. Remove it to start anew:
`furu rm HASH`, with the hash that `furu ls` shows.
"""

from __future__ import annotations

import json
import os
import signal

from furu_core import Furu


class Training(Furu[float]):
    epochs: int = 10

    def _create(self) -> float:
        saved = self.checkpoint_dir / "state.json"
        done, loss = json.loads(saved.read_text()) if saved.exists() else (0, 1.0)
        for epoch in range(done + 1, self.epochs + 1):
            print(f"epoch {epoch}", flush=True)
            loss *= 0.8
            # Written beside and renamed: a state that is half written is no state.
            beside = saved.with_suffix(".new")
            beside.write_text(json.dumps([epoch, loss]))
            beside.replace(saved)
            if epoch == self.epochs // 2 and done == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return loss


if __name__ == "__main__":
    print(f"loss {Training().get():.4f}")
