"""The interface for authors of codecs.

A codec stores values of certain types in a file of its own format. A distribution registers one as
an entry point, which has the codec's name; it is asked before furu's own codecs::

    [project.entry-points."furu.codecs"]
    tensor = "my_package.codecs:TensorCodec"

A codec whose `load` may run what is in the file, as `pickle.load` and `torch.load` do, opens the file by
`open_trusted`, so that `FURU_TRUST_PICKLES` holds for it.
"""

from furu_core._codecs._codec import Codec
from furu_core._forms._tagged_json import NotExact
from furu_core._trust import open_trusted

__all__ = ["Codec", "NotExact", "open_trusted"]
