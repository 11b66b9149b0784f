"""What authors of codecs build on.

A codec stores values of certain types in a file of its own format. A distribution brings one by an
entry point, named as the codec, and it is asked before furu's own::

    [project.entry-points."furu.codecs"]
    tensor = "my_package.codecs:TensorCodec"
"""

from furu_core._codecs._codec import Codec
from furu_core._forms._tagged_json import NotExact

__all__ = ["Codec", "NotExact"]
