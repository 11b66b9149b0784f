"""The interface for authors of codecs.

A codec stores values of certain types in a file of its own format. A distribution registers one as
an entry point, which has the codec's name; it is asked before furu's own codecs::

    [project.entry-points."furu.codecs"]
    tensor = "my_package.codecs:TensorCodec"
"""

from furu_core._codecs._codec import Codec
from furu_core._forms._tagged_json import NotExact

__all__ = ["Codec", "NotExact"]
