"""Files of weights: read without running code from them, checked against digests."""

from aerialkd.loading.checkpoint_file import file_of
from aerialkd.loading.reading import read_checkpoint
from aerialkd.loading.trust import trusting

__all__ = ['file_of', 'read_checkpoint', 'trusting']
